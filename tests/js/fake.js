/**
 * The world outside of a Websock: WebSockets whose server side a test plays, an echo that cuts its answers as it
 * likes, a clock, and random numbers that repeat.
 */

const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

/** Numbers from 0 to below 1, the same ones for the same seed. */
export function seeded(seed) {
    let state = seed;
    return () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state / 2 ** 32;
    };
}

export function pattern(length, seed = 1) {
    const random = seeded(seed);
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += 1) {
        bytes[at] = random() * 256;
    }
    return bytes;
}

export function toBase64(bytes) {
    let binary = '';
    for (const byte of bytes) {
        binary += String.fromCharCode(byte);
    }
    return btoa(binary);
}

export function fromBase64(text) {
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let at = 0; at < bytes.length; at += 1) {
        bytes[at] = binary.charCodeAt(at);
    }
    return bytes;
}

/** As strict as a browser's: states, close codes, copied messages, and handlers whose errors end with it. */
export class FakeWebSocket {
    constructor(url, protocols = []) {
        this.url = url;
        this.offered = [].concat(protocols);
        this.protocol = '';
        this.readyState = CONNECTING;
        this.binaryType = 'blob';
        this.bufferedAmount = 0;
        this.sent = [];
        this.closes = [];
        this.thrown = [];
        this.onopen = this.onmessage = this.onerror = this.onclose = null;
    }

    send(data) {
        if (this.readyState === CONNECTING) {
            throw new DOMException('still connecting', 'InvalidStateError');
        }
        const copy = typeof data === 'string' ? data : data.slice();
        if (this.readyState === OPEN) {
            this.sent.push(copy);
            this.answer(copy);
        }
    }

    close(code, reason = '') {
        if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
            throw new DOMException(`code ${code}`, 'InvalidAccessError');
        }
        this.closes.push({ code, reason });
        if (this.readyState < CLOSING) {
            this.readyState = CLOSING;
        }
    }

    // -- What a server does

    answer() {}

    accept(protocol = this.offered[0] ?? '') {
        this.protocol = protocol;
        this.readyState = OPEN;
        this._call('onopen', {});
    }

    deliver(data) {
        this._call('onmessage', { data: typeof data === 'string' ? data : Uint8Array.from(data).buffer });
    }

    /** Bytes as the subprotocol carries them, one message a piece of the lengths `cut` gives. */
    stream(bytes, cut = () => bytes.length) {
        for (let at = 0, end; at < bytes.length; at = end) {
            end = at + Math.max(1, Math.floor(cut(at)));
            const piece = bytes.slice(at, end);
            this.deliver(this.protocol === 'base64' ? toBase64(piece) : piece);
        }
    }

    end(code, reason = '') {
        this.readyState = CLOSED;
        this._call('onclose', { code, reason });
    }

    fail() {
        this._call('onerror', { type: 'error' });
        this.end(1006);
    }

    /** The bytes sent so far. */
    get received() {
        return this.sent.flatMap((data) => Array.from(typeof data === 'string' ? fromBase64(data) : data));
    }

    _call(name, event) {
        try {
            this[name]?.(event);
        } catch (error) {
            this.thrown.push(error);
        }
    }
}

/** A constructor of FakeWebSockets that keeps them in `sockets`. */
export function recording() {
    const sockets = [];
    class RecordedWebSocket extends FakeWebSocket {
        constructor(...args) {
            super(...args);
            sockets.push(this);
        }
    }
    return { WebSocket: RecordedWebSocket, sockets };
}

/**
 * A constructor of WebSockets that lead to an echo. It speaks `protocol`, runs together what is sent in one turn and
 * gives it back in messages of the lengths `cut` gives.
 */
export function echoing(protocol, cut) {
    return class EchoWebSocket extends FakeWebSocket {
        constructor(...args) {
            super(...args);
            this._pending = [];
            queueMicrotask(() => this.accept(protocol));
        }

        answer(data) {
            if (this._pending.length === 0) {
                queueMicrotask(() => this._echo());
            }
            this._pending.push(typeof data === 'string' ? fromBase64(data) : data);
        }

        close(...args) {
            super.close(...args);
            queueMicrotask(() => this.end(...args));
        }

        _echo() {
            const bytes = new Uint8Array(this._pending.reduce((total, { length }) => total + length, 0));
            let at = 0;
            for (const piece of this._pending.splice(0)) {
                bytes.set(piece, at);
                at += piece.length;
            }
            this.stream(bytes, cut);
        }
    };
}

/** Timers that run when a test says so. Times are in milliseconds. */
export class FakeClock {
    constructor() {
        this.now = 0;
        this._timers = new Map();
        this._next = 1;
    }

    setTimeout(call, delay) {
        this._timers.set(this._next, { call, due: this.now + delay });
        return this._next++;
    }

    clearTimeout(timer) {
        this._timers.delete(timer);
    }

    get pending() {
        return this._timers.size;
    }

    /** Milliseconds until the next one is due. */
    next() {
        return Math.min(...[...this._timers.values()].map(({ due }) => due)) - this.now;
    }

    advance(milliseconds) {
        this.now += milliseconds;
        for (const [timer, { call, due }] of this._timers) {
            if (due <= this.now) {
                this._timers.delete(timer);
                call();
            }
        }
    }
}

/** A Websock that is open over a FakeWebSocket, and that FakeWebSocket. */
export function opened(Websock, { protocol = 'binary', ...options } = {}) {
    const { WebSocket, sockets } = recording();
    const sock = new Websock({ WebSocket, ...options });
    sock.open('ws://localhost/');
    sockets[0].accept(protocol);
    return { sock, peer: sockets[0] };
}
