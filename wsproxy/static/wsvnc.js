/** The VNC page: noVNC's RFB, where it has been installed, with a form to connect and the keys a phone lacks. */

import { prepareDial, showOpen, tell } from './dial.js';

/** X keysyms of the keys that a field for typing passes on. */
const KEYS = { Backspace: 0xff08, Enter: 0xff0d };
/** What the field always holds, for on an empty one a phone's Backspace tells nothing. */
const FILLER = ' ';
const LATIN1_END = 0x100;
const UNICODE_KEYSYMS = 0x01000000;

const byId = (id) => document.getElementById(id);

function keysymOf(char) {
    const code = char.codePointAt(0);
    return code < LATIN1_END ? code : UNICODE_KEYSYMS + code;
}

class Desktop {
    constructor(RFB) {
        this._RFB = RFB;
        this._rfb = null;
    }

    connect(url) {
        const rfb = new this._RFB(byId('screen'), url.href, { wsProtocols: ['binary'] });
        this._rfb = rfb;
        rfb.scaleViewport = true;
        rfb.resizeSession = byId('resize').checked;
        rfb.background = '';
        rfb.addEventListener('connect', () => {
            tell(`Connected to ${url.host}.`);
            byId('keys').hidden = false;
            byId('credentials').hidden = true;
            rfb.focus();
        });
        rfb.addEventListener('disconnect', ({ detail }) => this._end(detail.clean));
        rfb.addEventListener('desktopname', ({ detail }) => tell(`Connected to ${url.host}: ${detail.name}`));
        rfb.addEventListener('credentialsrequired', ({ detail }) => this._ask(detail.types));
        rfb.addEventListener('securityfailure', ({ detail }) => {
            this._failure = `Refused: ${detail.reason ?? `status ${detail.status}`}`;
        });
        rfb.addEventListener('serververification', () => {
            this._failure = 'The server shows a key that this page cannot verify.';
            rfb.disconnect();
        });
        rfb.addEventListener('clipboard', ({ detail }) => {
            byId('clipboard').value = detail.text;
        });
        this._failure = '';
        showOpen(true);
        tell(`Connecting to ${url.host} …`);
    }

    hangUp() {
        this._rfb?.disconnect();
    }

    press(keysym) {
        this._rfb?.sendKey(keysym);
    }

    pressCtrlAltDel() {
        this._rfb?.sendCtrlAltDel();
    }

    paste(text) {
        this._rfb?.clipboardPasteFrom(text);
    }

    fit(isWanted) {
        if (this._rfb) {
            this._rfb.resizeSession = isWanted;
        }
    }

    focus() {
        this._rfb?.focus();
    }

    /** Hand over what the form for it holds, then forget it. */
    logIn() {
        const { username, password } = byId('credentials').elements;
        this._rfb?.sendCredentials({ username: username.value, password: password.value });
        password.value = '';
        byId('credentials').hidden = true;
    }

    _ask(types) {
        byId('username').hidden = !types.includes('username');
        byId('password').hidden = !types.includes('password');
        byId('credentials').hidden = false;
        byId('credentials').querySelector('label:not([hidden]) input').focus();
        tell('The server asks who you are.');
    }

    _end(isClean) {
        this._rfb = null;
        byId('keys').hidden = true;
        byId('credentials').hidden = true;
        showOpen(false);
        tell(this._failure || (isClean ? 'Disconnected.' : 'No connection: the server is not there or has vanished.'));
    }
}

function prepareControls(desktop) {
    for (const button of document.querySelectorAll('[data-keysym]')) {
        button.addEventListener('click', () => {
            desktop.press(Number(button.dataset.keysym));
            desktop.focus();
        });
    }
    byId('ctrlaltdel').addEventListener('click', () => desktop.pressCtrlAltDel());
    byId('resize').addEventListener('change', (event) => desktop.fit(event.target.checked));
    byId('clipboard').addEventListener('change', (event) => desktop.paste(event.target.value));
    byId('credentials').addEventListener('submit', (event) => {
        event.preventDefault();
        desktop.logIn();
    });
    prepareTyping(desktop);
    // noVNC takes every key that reaches the screen; this one is caught on its way there.
    byId('screen').addEventListener('keydown', (event) => {
        if (event.shiftKey && event.key === 'F6') {
            event.preventDefault();
            event.stopPropagation();
            byId('hangup').focus();
        }
    }, { capture: true });
}

/** A field whose text goes to the desktop, key by key: how a phone's keyboard is brought up. */
function prepareTyping(desktop) {
    const field = byId('typing');
    const pressAll = (text) => [...text ?? ''].forEach((char) => desktop.press(keysymOf(char)));

    field.addEventListener('focus', () => {
        field.value = FILLER;
    });
    field.addEventListener('keydown', (event) => {
        if (Object.hasOwn(KEYS, event.key)) {
            event.preventDefault();
            desktop.press(KEYS[event.key]);
        }
    });
    field.addEventListener('beforeinput', (event) => {
        if (event.isComposing) {
            return; // compositionend brings the whole
        }
        event.preventDefault();
        if (event.inputType === 'deleteContentBackward') {
            desktop.press(KEYS.Backspace);
        }
        pressAll(event.data);
    });
    field.addEventListener('compositionend', (event) => {
        pressAll(event.data);
        field.value = FILLER;
    });
}

function main({ default: RFB }) {
    const desktop = new Desktop(RFB);
    prepareControls(desktop);
    prepareDial({ connect: (url) => desktop.connect(url), hangUp: () => desktop.hangUp() });
}

import('./vendor/@novnc/novnc/core/rfb.js').then(main, () => {
    tell('noVNC is missing: it comes along where npm is at hand when wsproxy is installed. '
        + 'Or serve your own copy of it with --web, beside these pages.');
    byId('connect').disabled = true;
});
