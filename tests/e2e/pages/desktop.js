// Shows the desktop behind the port that served this page, by the scheme of the page, and what becomes of it; its
// password is the fragment.

import RFB from './novnc/core/rfb.js';

const status = document.getElementById('status');
const url = new URL('/', location.href);
url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';

const credentials = {password: location.hash.slice(1)};
const rfb = new RFB(document.getElementById('screen'), url.href, {credentials});
rfb.qualityLevel = 9;
rfb.addEventListener('connect', () => {
    status.textContent = `Connected to ${url.protocol}`;
});
rfb.addEventListener('disconnect', (event) => {
    status.textContent = event.detail.clean ? 'Closed' : 'Failed';
});
