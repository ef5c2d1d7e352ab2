/**
 * What the pages have in common: the form that says where to connect, and the line that tells how it goes.
 *
 * @module
 */

import { addressOf, isOwn, socketURL } from './address.js';

const FIELDS = ['host', 'port', 'path'];

/** One line of text about the connection. */
export function tell(text) {
    document.getElementById('status').textContent = text;
}

/** How a connection ended, in words; browsers give no reason where there was no connection. */
export function ending({ code, reason }) {
    if (code === 1006 && !reason) {
        return 'No connection: the server is not there, refuses this page, or has vanished.';
    }
    return `Closed: ${reason || `code ${code}`}`;
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
            tell(`Cannot connect: ${error.message}`);
        }
    }

    form.addEventListener('submit', (event) => {
        event.preventDefault();
        submit();
    });
    document.getElementById('hangup').addEventListener('click', hangUp);
    if (!leadsHome(address)) {
        form.querySelector('details').open = true;
        tell(`Connect to ${address.host}? The link that led here asks for it.`);
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

/** Show which of the two buttons makes sense. */
export function showOpen(isOpen) {
    document.getElementById('connect').hidden = isOpen;
    document.getElementById('hangup').hidden = !isOpen;
}
