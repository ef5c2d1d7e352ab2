/**
 * The telnet page: a terminal by xterm.js at one end, the proxy at the other, telnet.js between them.
 *
 *     Websock ─► Telnet.receive() ─► Terminal.write()      Terminal.onData ─► Telnet.encode() ─► Websock
 *
 * With `raw=1` the bytes go through as they are.
 */

import { Connection } from './connection.js';
import { askOwn, BUSY, FAILED, IDLE, leave, LIVE, prepareDial, showOpen, tell } from './dial.js';
import { describeGreeting, isRFB } from './greeting.js';
import { LocalLine } from './line.js';
import { Surrogates } from './surrogates.js';
import { Telnet } from './telnet.js';

/** Bytes the terminal may have in hand; the rest waits in the Websock, which ends a connection before it bursts. */
const MAX_PENDING = 1024 * 1024;

/**
 * What a new session begins with, below what is left of the one before: off the alternate buffer (not by 1049, which
 * moves the cursor, too), modes as they were (DECSTR), mouse and paste modes off.
 */
const AFRESH = '\x1b[?1047l\x1b[!p\x1b[?1000;1002;1003;1006;2004l\x1b[0m';

const KEYS = { Escape: '\x1b', Tab: '\t' };
const ARROWS = { ArrowUp: 'A', ArrowDown: 'B', ArrowRight: 'C', ArrowLeft: 'D' };
const DARK = {
    background: '#14161a', foreground: '#e4e6ea', cursor: '#e4e6ea', selectionBackground: '#3f5f8f',
};
const LIGHT = {
    background: '#ffffff', foreground: '#1c1e22', cursor: '#1c1e22', selectionBackground: '#a8c7f0',
    black: '#1c1e22', red: '#b3261e', green: '#1a6b2b', yellow: '#7a5900', blue: '#1d4fa8', magenta: '#8a2a86',
    cyan: '#0b6570', white: '#6a6f78', brightBlack: '#565b63', brightRed: '#c4322a', brightGreen: '#237a35',
    brightYellow: '#8a6500', brightBlue: '#2a5fc0', brightMagenta: '#9c3597', brightCyan: '#127380',
    brightWhite: '#4a4f57',
};

const encoder = new TextEncoder();
const byId = (id) => document.getElementById(id);

async function makeTerminal() {
    const [{ Terminal }, { FitAddon }] = await Promise.all([
        import('./vendor/@xterm/xterm/lib/xterm.mjs'),
        import('./vendor/@xterm/addon-fit/lib/addon-fit.mjs'),
    ]);
    const terminal = new Terminal({
        cursorBlink: true,
        fontFamily: 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace',
        scrollback: 10000,
    });
    const fit = new FitAddon();
    terminal.loadAddon(fit);
    terminal.open(byId('terminal'));
    const isDark = matchMedia('(prefers-color-scheme: dark)');
    const isNarrow = matchMedia('(max-width: 40rem)');
    const adapt = () => {
        terminal.options.theme = isDark.matches ? DARK : LIGHT;
        terminal.options.fontSize = isNarrow.matches ? 12 : 15;
        fit.fit();
    };
    adapt();
    isDark.addEventListener('change', adapt);
    isNarrow.addEventListener('change', adapt);
    new ResizeObserver(() => fit.fit()).observe(byId('terminal'));
    return terminal;
}

/** One page's connections, one after the other, each a telnet session of its own. */
class Sessions {
    constructor(terminal, applyControl) {
        this._terminal = terminal;
        this._telnet = null;
        this._line = new LocalLine();
        this._pending = 0;
        this._isGreeted = false;
        this._connection = new Connection({
            opened: (url) => this._begin(url),
            received: () => this._drain(),
            waiting: (text) => tell(text, FAILED),
            ended: (text, isClean) => this._end(text, isClean),
            ask: askOwn,
        });
        const surrogates = new Surrogates();
        terminal.onData((text) => this._typed(applyControl(surrogates.join(text))));
        terminal.onBinary((text) => this._send(Uint8Array.from(text, (char) => char.charCodeAt(0))));
        terminal.onResize(({ cols, rows }) => this._transmit(this._telnet?.resize(cols, rows)));
    }

    connect(url) {
        this._connection.connect(url);
        showOpen(true);
        tell(`Connecting to ${url.host} …`, BUSY);
    }

    hangUp() {
        this._connection.disconnect();
        showOpen(false);
        tell('Disconnected. Enter connects again.', IDLE);
    }

    _begin(url) {
        const { cols: columns, rows } = this._terminal;
        this._telnet = byId('raw').checked ? null : new Telnet({ columns, rows });
        this._line = new LocalLine();
        this._isGreeted = false;
        this._terminal.write(this._terminal.buffer.active.cursorX > 0 ? `${AFRESH}\r\n` : AFRESH);
        this._terminal.focus();
        tell(`Connected to ${url.host}.`, LIVE);
    }

    _end(text, isClean) {
        showOpen(false);
        tell(`${text} Enter connects again.`, isClean ? IDLE : FAILED);
    }

    /** A desktop's first words tell little on a terminal. */
    _greet(bytes) {
        this._connection.settle();
        if (!this._isGreeted && isRFB(bytes)) {
            tell(`Connected, but this is a terminal. ${describeGreeting(bytes)}`, LIVE);
        }
        this._isGreeted = true;
    }

    _drain() {
        const { sock } = this._connection;
        while (this._pending < MAX_PENDING && sock.rQlen() > 0) {
            const bytes = sock.rQshiftBytes(Math.min(sock.rQlen(), MAX_PENDING));
            this._greet(bytes);
            const { data, reply } = this._telnet?.receive(bytes) ?? { data: bytes };
            this._transmit(reply);
            // Who does not echo may be no telnet server at all, and end lines in its own way.
            this._terminal.options.convertEol = this._telnet !== null && !this._telnet.echoes;
            this._pending += data.length;
            this._terminal.write(data, () => {
                this._pending -= data.length;
                this._drain();
            });
        }
    }

    _typed(text) {
        if (!this._connection.isOpen) {
            if (text === '\r' && this._connection.url && this._connection.isIdle) {
                this.connect(this._connection.url);
            }
        } else if (this._telnet && !this._telnet.echoes) {
            const { echo, lines } = this._line.type(text);
            this._terminal.write(echo);
            for (const line of lines) {
                this._transmit(this._telnet.encodeLine(encoder.encode(line)));
            }
        } else {
            this._send(encoder.encode(text));
        }
    }

    _send(bytes) {
        this._transmit(this._telnet?.encode(bytes) ?? bytes);
    }

    _transmit(bytes) {
        if (bytes?.length > 0 && this._connection.isOpen) {
            this._connection.sock.send(bytes);
        }
    }
}

/**
 * The keys a phone lacks, copy and paste, and the way out of the terminal by keyboard.
 *
 * @returns {function(string): string} to pass what is typed through
 */
function prepareKeys(terminal) {
    const control = byId('control');
    const holdControl = (isHeld) => control.setAttribute('aria-pressed', String(isHeld));
    const isControlHeld = () => control.getAttribute('aria-pressed') === 'true';

    async function copy() {
        if (navigator.clipboard) {
            await navigator.clipboard.writeText(terminal.getSelection());
        } else {
            terminal.focus();
            document.execCommand('copy'); // all there is without TLS
        }
    }

    byId('keys').hidden = false;
    byId('keys').addEventListener('pointerdown', (event) => event.preventDefault()); // keep a phone's keyboard up
    for (const button of document.querySelectorAll('[data-key]')) {
        const { key } = button.dataset;
        const introducer = () => (terminal.modes.applicationCursorKeysMode ? '\x1bO' : '\x1b[');
        button.addEventListener('click', () => terminal.input(KEYS[key] ?? introducer() + ARROWS[key]));
    }
    control.addEventListener('click', () => holdControl(!isControlHeld()));
    byId('copy').addEventListener('click', copy);
    byId('leave').addEventListener('click', leave);
    byId('paste').hidden = !navigator.clipboard?.readText;
    byId('paste').addEventListener('click', async () => terminal.paste(await navigator.clipboard.readText()));

    terminal.attachCustomKeyEventHandler((event) => {
        if (event.type !== 'keydown') {
            return true;
        }
        if (event.shiftKey && event.key === 'F6') {
            leave();
            event.preventDefault();
            return false;
        }
        if (event.ctrlKey && event.shiftKey && event.code === 'KeyC') {
            copy();
            event.preventDefault();
            return false;
        }
        // Left to the browser, which then tells the terminal what to paste.
        return !(event.ctrlKey && event.shiftKey && event.code === 'KeyV');
    });

    // A held Ctrl turns the next letter into its control character.
    return (text) => {
        if (!isControlHeld() || !/^[@-_a-z]$/i.test(text)) {
            return text;
        }
        holdControl(false);
        return String.fromCharCode(text.toUpperCase().charCodeAt(0) & 31);
    };
}

function main(terminal) {
    const sessions = new Sessions(terminal, prepareKeys(terminal));
    byId('raw').checked = ['1', 'true'].includes(new URL(location.href).searchParams.get('raw'));
    prepareDial({ connect: (url) => sessions.connect(url), hangUp: () => sessions.hangUp() });
}

makeTerminal().then(main, () => {
    tell('The terminal is missing: xterm.js comes along where npm is at hand when wsproxy is installed.', FAILED);
    byId('connect').disabled = true;
});
