/**
 * The VNC page: noVNC's RFB, where it has been installed, with a form to connect and the keys a phone lacks.
 *
 *     WebSocket ─┬─► RFB ─► #screen        #screen, #typing ─► (characters whole) ─► RFB ─► WebSocket
 *                └─► its first bytes and its end: what RFB does not tell
 */

import { askOwn, BUSY, FAILED, IDLE, leave, LIVE, prepareDial, showOpen, tell } from './dial.js';
import { describeGreeting, isRFB, RFB_LENGTH } from './greeting.js';
import { endingOf, isClean } from './reason.js';
import { Surrogates } from './surrogates.js';

/** X keysyms of the keys that a field for typing passes on. */
const KEYS = { Backspace: 0xff08, Enter: 0xff0d };
/** What the field always holds, for on an empty one a phone's Backspace tells nothing. */
const FILLER = ' ';
const LATIN1_END = 0x100;
const UNICODE_KEYSYMS = 0x01000000;

const ABNORMAL = 1006;
/** Milliseconds after which a server that should have spoken first is told to be silent. */
const SILENCE = 3000;

/** Half of a character, or one of two halves: what no keysym is looked up for, or a wrong one. */
const BEYOND = /^[\ud800-\udfff]$|^[\ud800-\udbff][\udc00-\udfff]$/;

const byId = (id) => document.getElementById(id);

function keysymOf(char) {
    const code = char.codePointAt(0);
    return code < LATIN1_END ? code : UNICODE_KEYSYMS + code;
}

/** Watch the beginning of a connection. RFC 6143 section 7.1.1: the server speaks first, and says RFB. */
class Listener {
    /** @param {function(string, boolean)} tellStranger what was heard in place of it, and whether that is the end */
    constructor(sock, tellStranger) {
        this._tell = tellStranger;
        this._heard = [];
        this._abort = new AbortController();
        const { signal } = this._abort;
        sock.addEventListener('open', () => {
            this._timer = setTimeout(() => this._miss(), SILENCE);
        }, { signal });
        sock.addEventListener('message', ({ data }) => this._hear(data), { signal });
        sock.addEventListener('close', () => this._stop(), { signal });
    }

    _hear(data) {
        this._heard.push(...new Uint8Array(data).subarray(0, 64));
        if (this._heard.length >= RFB_LENGTH) {
            this._stop();
            const bytes = Uint8Array.from(this._heard);
            if (!isRFB(bytes)) {
                this._tell(`This is no VNC server. ${describeGreeting(bytes)}`, true);
            }
        }
    }

    _miss() {
        this._tell('Connected, but the server says nothing yet. Is it a VNC server?', false);
    }

    _stop() {
        clearTimeout(this._timer);
        this._abort.abort();
    }
}

class Desktop {
    constructor(RFB) {
        this._RFB = RFB;
        this._rfb = null;
        this._url = null;
        this._ending = null;
        this._isAsked = false;
    }

    /** @param {object} [credentials] those that the server will ask for, where they are known */
    connect(url, credentials = null) {
        const sock = new WebSocket(url, ['binary']);
        this._url = url;
        this._ending = null;
        this._isAsked = credentials !== null;
        new Listener(sock, (text, isEnd) => this._meetStranger(text, isEnd));
        this._watch(sock, url);
        this._rfb = this._attach(sock, credentials ?? {});
        byId('credentials').hidden = true;
        showOpen(true);
        tell(`Connecting to ${url.host} …`, BUSY);
    }

    _attach(sock, credentials) {
        const { host } = this._url;
        const rfb = new this._RFB(byId('screen'), sock, { credentials });
        rfb.scaleViewport = true;
        rfb.resizeSession = byId('resize').checked;
        rfb.background = '';
        rfb.addEventListener('connect', () => {
            this._isAsked = false;
            tell(`Connected to ${host}.`, LIVE);
            byId('keys').hidden = false;
            byId('credentials').hidden = true;
            rfb.focus();
        });
        rfb.addEventListener('disconnect', () => this._end(rfb));
        rfb.addEventListener('desktopname', ({ detail }) => tell(`Connected to ${host}: ${detail.name}`, LIVE));
        rfb.addEventListener('credentialsrequired', ({ detail }) => this._ask(detail.types));
        rfb.addEventListener('securityfailure', ({ detail }) => {
            this._fail(`Refused: ${detail.reason ?? `status ${detail.status}`}.`);
        });
        rfb.addEventListener('serververification', () => {
            this._fail('The server shows a key that this page cannot verify.');
            rfb.disconnect();
        });
        rfb.addEventListener('clipboard', ({ detail }) => {
            byId('clipboard').value = detail.text;
        });
        return rfb;
    }

    /** noVNC, which learns of the end after this, passes on neither code nor reason. */
    _watch(sock, url) {
        let wasOpen = false;
        sock.addEventListener('open', () => {
            wasOpen = true;
        });
        sock.addEventListener('close', async (event) => {
            if (url !== this._url) {
                return; // hung up
            }
            this._fail(endingOf(event, wasOpen).text, isClean(event.code) ? IDLE : FAILED);
            const isUnexplained = event.code === ABNORMAL && !wasOpen;
            const reason = isUnexplained && await askOwn(url);
            if (reason && url === this._url) {
                tell(reason.text, FAILED);
            }
        });
    }

    /** The first failure is the reason of those that follow. */
    _fail(text, state = FAILED) {
        this._ending ??= { text, state };
    }

    _meetStranger(text, isEnd) {
        tell(text, isEnd ? FAILED : BUSY);
        if (isEnd) {
            this._fail(text);
            this._rfb.disconnect();
        }
    }

    hangUp() {
        this._url = null;
        this._isAsked = false;
        this._fail('Disconnected.', IDLE);
        this._rfb?.disconnect();
    }

    press(keysym) {
        this._rfb?.sendKey(keysym);
    }

    pressAll(text) {
        for (const char of text) {
            this.press(keysymOf(char));
        }
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

    /** Hand over what the form for it holds, then forget it: to the server that asks, or on a connection of its own. */
    logIn() {
        const { username, password } = byId('credentials').elements;
        const credentials = { username: username.value, password: password.value };
        password.value = '';
        byId('credentials').hidden = true;
        if (this._rfb) {
            this._rfb.sendCredentials(credentials);
        } else {
            this.connect(this._url, credentials);
        }
    }

    _ask(types) {
        this._isAsked = true;
        byId('username').hidden = !types.includes('username');
        byId('password').hidden = !types.includes('password');
        tell('The server asks who you are.', BUSY);
        this._showLogin();
    }

    _showLogin() {
        byId('credentials').hidden = false;
        byId('credentials').querySelector('label:not([hidden]) input').focus();
    }

    _end(rfb) {
        if (rfb !== this._rfb) {
            return;
        }
        this._rfb = null;
        byId('keys').hidden = true;
        byId('credentials').hidden = true;
        showOpen(false);
        this._fail('Closed: noVNC does not understand this server.');
        const { text, state } = this._ending;
        tell(this._isAsked ? `${text} Try again.` : text, state);
        if (this._isAsked) {
            this._showLogin();
        }
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
    byId('leave').addEventListener('click', leave);
    byId('resize').addEventListener('change', (event) => desktop.fit(event.target.checked));
    byId('clipboard').addEventListener('change', (event) => desktop.paste(event.target.value));
    byId('credentials').addEventListener('submit', (event) => {
        event.preventDefault();
        desktop.logIn();
    });
    prepareTyping(desktop);
    prepareScreen(desktop);
}

/** noVNC takes every key that reaches the screen; these are caught on their way there. */
function prepareScreen(desktop) {
    const surrogates = new Surrogates();

    function intercept(event, isOurs, act) {
        if (isOurs) {
            event.preventDefault();
            event.stopPropagation();
            act();
        }
    }

    byId('screen').addEventListener('keydown', (event) => {
        intercept(event, event.shiftKey && event.key === 'F6', leave);
        intercept(event, BEYOND.test(event.key), () => desktop.pressAll(surrogates.join(event.key)));
    }, { capture: true });
    byId('screen').addEventListener('keyup', (event) => {
        intercept(event, BEYOND.test(event.key), () => {});
    }, { capture: true });
}

/** A field whose text goes to the desktop, key by key: how a phone's keyboard is brought up. */
function prepareTyping(desktop) {
    const field = byId('typing');
    const surrogates = new Surrogates();
    const pressAll = (text) => desktop.pressAll(surrogates.join(text ?? ''));

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
        + 'Or serve your own copy of it with --web, beside these pages.', FAILED);
    byId('connect').disabled = true;
});
