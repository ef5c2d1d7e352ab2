/**
 * Telnet, the client's side: bytes in, bytes out; no socket and no screen.
 *
 *     from the network ─► receive() ─► { data for the terminal, reply for the network }
 *     keys ─► encode() or encodeLine() ─► to the network
 *
 * What it agrees to (RFC 854, 855; a reply only where a state changes, so that no two ends can loop, RFC 1143):
 *
 *     BINARY 0 (RFC 856)          both ways; offered by us, since some servers clear the eighth bit without it
 *     ECHO 1 (RFC 857)            of the server
 *     SUPPRESS-GO-AHEAD 3 (858)   both ways
 *     TERMINAL-TYPE 24 (RFC 1091) ours
 *     NAWS 31 (RFC 1073)          ours: columns and rows, again whenever they change
 *
 * All else is refused. Nothing is sent before the server has shown that it speaks telnet.
 *
 * @module
 */

const SE = 240;
const SB = 250;
const WILL = 251;
const WONT = 252;
const DO = 253;
const DONT = 254;
const IAC = 255;

const BINARY = 0;
const ECHO = 1;
const SUPPRESS_GO_AHEAD = 3;
const TERMINAL_TYPE = 24;
const NAWS = 31;

const TERMINAL_TYPE_IS = 0;
const TERMINAL_TYPE_SEND = 1;

const NUL = 0;
const LF = 10;
const CR = 13;

const OURS = new Set([BINARY, SUPPRESS_GO_AHEAD, TERMINAL_TYPE, NAWS]);
const THEIRS = new Set([BINARY, ECHO, SUPPRESS_GO_AHEAD]);

/** Bytes of a subnegotiation that are kept; the one we act on has two. */
const MAX_SUBNEGOTIATION = 64;

function escapeIAC(bytes) {
    return Array.from(bytes).flatMap((byte) => (byte === IAC ? [IAC, IAC] : [byte]));
}

export class Telnet {
    /**
     * @param {object} [options]
     * @param {string} [options.terminal] the terminal's name for the server, in ASCII
     * @param {number} [options.columns]
     * @param {number} [options.rows]
     */
    constructor({ terminal = 'xterm-256color', columns = 80, rows = 24 } = {}) {
        this._terminal = Array.from(new TextEncoder().encode(terminal));
        this._columns = columns;
        this._rows = rows;
        this._ours = new Set();
        this._theirs = new Set();
        this._offered = new Set();
        this._isSpoken = false;
        this._step = this._text;
        this._afterCR = false;
        this._verb = 0;
        this._subnegotiation = [];
        this._data = new Uint8Array(0);
        this._length = 0;
        this._reply = [];
    }

    /** Whether the server echoes what is typed. Where it does not, the terminal has to. */
    get echoes() {
        return this._theirs.has(ECHO);
    }

    /**
     * @param {Uint8Array} bytes as they came, cut anywhere
     * @returns {{data: Uint8Array, reply: Uint8Array}} what to show, and what to send back; either may be empty.
     */
    receive(bytes) {
        this._data = new Uint8Array(bytes.length); // never more than came in
        this._length = 0;
        this._reply = [];
        for (const byte of bytes) {
            this._step = this._step(byte);
        }
        return { data: this._data.subarray(0, this._length), reply: Uint8Array.from(this._reply) };
    }

    /** Typed bytes, in which a CR is the Enter key, for the network. */
    encode(bytes) {
        const escaped = escapeIAC(bytes);
        // RFC 854 lets no CR stand alone, RFC 856 does.
        const isBinary = this._ours.has(BINARY);
        return Uint8Array.from(isBinary ? escaped : escaped.flatMap((byte) => (byte === CR ? [CR, NUL] : [byte])));
    }

    /** A line, without its end, for a server that leaves echo and editing to us. */
    encodeLine(bytes) {
        return Uint8Array.from([...escapeIAC(bytes), CR, LF]);
    }

    /** @returns {Uint8Array} what tells the server of the new size, empty if it does not want to know. */
    resize(columns, rows) {
        this._columns = columns;
        this._rows = rows;
        return Uint8Array.from(this._ours.has(NAWS) ? this._size() : []);
    }

    // -- One byte each: the value is what takes the next one

    _text(byte) {
        if (byte === IAC) {
            return this._command;
        }
        if (byte === NUL && this._afterCR && !this._theirs.has(BINARY)) {
            this._afterCR = false;
            return this._text;
        }
        return this._show(byte);
    }

    _show(byte) {
        this._data[this._length] = byte;
        this._length += 1;
        this._afterCR = byte === CR;
        return this._text;
    }

    _command(byte) {
        if (byte === IAC) {
            return this._show(IAC);
        }
        if (byte === SB) {
            this._subnegotiation = [];
            return this._parameter;
        }
        if (byte >= WILL) {
            this._verb = byte;
            return this._option;
        }
        return this._text;
    }

    _option(option) {
        if (this._verb === WILL || this._verb === WONT) {
            this._settleTheirs(option, this._verb === WILL);
        } else {
            this._settleOurs(option, this._verb === DO);
        }
        if (!this._isSpoken) {
            this._isSpoken = true;
            this._offer(BINARY);
        }
        return this._text;
    }

    _parameter(byte) {
        if (byte === IAC) {
            return this._parameterCommand;
        }
        return this._keep(byte);
    }

    _parameterCommand(byte) {
        if (byte === IAC) {
            return this._keep(IAC);
        }
        if (byte === SE) {
            this._answer(this._subnegotiation);
            return this._text;
        }
        // Not allowed in here; the server means to begin something else.
        return this._command(byte);
    }

    _keep(byte) {
        if (this._subnegotiation.length < MAX_SUBNEGOTIATION) {
            this._subnegotiation.push(byte);
        }
        return this._parameter;
    }

    // -- Options

    _settleTheirs(option, on) {
        if (!on && this._theirs.delete(option)) {
            this._reply.push(IAC, DONT, option);
        } else if (on && !this._theirs.has(option)) {
            const verb = THEIRS.has(option) ? DO : DONT;
            if (verb === DO) {
                this._theirs.add(option);
            }
            this._reply.push(IAC, verb, option);
        }
    }

    _settleOurs(option, on) {
        const wasOffered = this._offered.delete(option);
        if (!on) {
            if (this._ours.delete(option)) {
                this._reply.push(IAC, WONT, option);
            }
        } else if (!OURS.has(option)) {
            this._reply.push(IAC, WONT, option);
        } else if (!this._ours.has(option)) {
            this._ours.add(option);
            if (!wasOffered) {
                this._reply.push(IAC, WILL, option);
            }
            if (option === NAWS) {
                this._reply.push(...this._size());
            }
        }
    }

    _offer(option) {
        if (!this._ours.has(option)) {
            this._offered.add(option);
            this._reply.push(IAC, WILL, option);
        }
    }

    _answer([option, request]) {
        if (option === TERMINAL_TYPE && request === TERMINAL_TYPE_SEND && this._ours.has(TERMINAL_TYPE)) {
            this._reply.push(IAC, SB, TERMINAL_TYPE, TERMINAL_TYPE_IS, ...this._terminal, IAC, SE);
        }
    }

    _size() {
        const numbers = [this._columns >> 8, this._columns & 255, this._rows >> 8, this._rows & 255];
        return [IAC, SB, NAWS, ...escapeIAC(numbers), IAC, SE];
    }
}
