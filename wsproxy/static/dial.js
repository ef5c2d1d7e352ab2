/**
 * What the pages have in common: the form that says where to connect, and the line that tells how it goes.
 *
 * @module
 */

import { addressOf, isOwn, socketURL } from './address.js';
import { askReason } from './reason.js';

const FIELDS = ['host', 'port', 'path'];

/** States of a connection, as pages.css shows them: by a sign and a colour beside the words. */
export const IDLE = 'idle';
export const BUSY = 'busy';
export const LIVE = 'live';
export const FAILED = 'failed';

function ask(event) {
    event.preventDefault();
}

/**
 * One line of text about the connection. While it is live, the browser asks before the page is left: Ctrl+W and Ctrl+Q
 * are keys of the server's, too.
 *
 * @param {string} text
 * @param {string} state
 * @param {boolean} [isKept] whether it asks
 */
export function tell(text, state, isKept = state === LIVE) {
    const line = document.getElementById('status');
    line.textContent = text;
    line.dataset.state = state;
    if (isKept) {
        addEventListener('beforeunload', ask);
    } else {
        removeEventListener('beforeunload', ask);
    }
}

/**
 * Fill in `#dial` from the page's address, and call `connect(url)` when it is submitted: now, where the page connects
 * to its own server and `isReady()`.
 *
 * Of the form's buttons `#hangup` calls `hangUp()`.
 */
export function prepareDial({ connect, hangUp, isReady = () => true }) {
    const form = document.getElementById('dial');
    const address = addressOf(location);
    for (const name of FIELDS) {
        form.elements[name].value = address[name];
    }
    form.elements.encrypt.checked = address.encrypt;

    function wanted() {
        const values = Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value.trim()]));
        return socketURL({ ...values, encrypt: form.elements.encrypt.checked });
    }

    function submit() {
        try {
            connect(wanted());
        } catch (error) {
            tell(`Cannot connect: ${error.message}`, FAILED);
        }
    }

    form.addEventListener('submit', (event) => {
        event.preventDefault();
        submit();
    });
    document.getElementById('hangup').addEventListener('click', hangUp);
    if (!leadsHome(address)) {
        form.querySelector('details').open = true;
        tell(`Connect to ${address.host}? The link that led here asks for it.`, IDLE);
    } else if (isReady()) {
        submit();
    }
}

function leadsHome(address) {
    try {
        return isOwn(socketURL(address), location);
    } catch {
        return false;
    }
}

/** Why a WebSocket did not open, from the page's own server; null of others, which the pages' policy keeps unasked. */
export async function askOwn(url) {
    return isOwn(url, location) ? askReason(url) : null;
}

/** Show which of the two buttons makes sense. */
export function showOpen(isOpen) {
    document.getElementById('connect').hidden = isOpen;
    document.getElementById('hangup').hidden = !isOpen;
}

/** Let a button and Shift+F6 lead from what takes all keys, or brings up a phone's keyboard, to the page's buttons. */
export function leave() {
    document.querySelector('#dial button:not([hidden])').focus();
}
