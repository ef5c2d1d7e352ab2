/**
 * A byte stream in the browser: what the target wrote, in order, however the messages were cut.
 *
 *     message ─► (base64) ─► receive queue ─► 'message' event ─► rQshift8(), rQshiftBytes(), …
 *     queue(), send() ─► send queue ─► flush() ─► (base64) ─► one message
 *
 * The methods bear the names that users of websockify know, and a few modern ones beside them. This file stands
 * alone: it imports nothing, and may be copied into another page.
 *
 * Where Websock itself ends a connection, the close code is one of 4003 (a text message in a binary stream, or the
 * reverse), 4007 (malformed base64) or 4009 (more unread bytes than `maxReceive`): browsers let a page send no code
 * but 1000 and 3000 to 4999, so these are 1003, 1007 and 1009 of RFC 6455 section 7.4.1, moved.
 *
 * @module
 */

const MIB = 1024 * 1024;
const FIRST_CAPACITY = 64 * 1024;
const MAX_ARGUMENTS = 8192;
const STATES = ['connecting', 'open', 'closing', 'closed'];
const EVENTS = ['open', 'message', 'close', 'error', 'reconnect'];

const UNSUPPORTED_DATA = 4003;
const INVALID_DATA = 4007;
const TOO_BIG = 4009;

/**
 * Close codes after which a second attempt may fare better: going away, connection lost, target not reached or an
 * internal error, restarting, try later, bad gateway, and the proxy's own "heartbeat lost". The others say that the
 * target ended the stream (1000, 1005), that one side breaks the protocol (1002, 1003, 1007 to 1010), or that the
 * proxy meant it: idle (4000) or expired (4001).
 */
const RETRY_CODES = new Set([1001, 1006, 1011, 1012, 1013, 1014, 4002]);
const RETRY_DEFAULTS = { minDelay: 500, maxDelay: 30000, attempts: 10 };

/** One character a byte, U+0000 to U+00FF. In slices, since each byte is an argument on the engine's stack. */
function latin1(bytes) {
    let text = '';
    for (let at = 0; at < bytes.length; at += MAX_ARGUMENTS) {
        text += String.fromCharCode.apply(null, bytes.subarray(at, at + MAX_ARGUMENTS));
    }
    return text;
}

/** The reverse of `latin1`. Throws RangeError at a character beyond U+00FF. */
function fromLatin1(text) {
    const bytes = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at += 1) {
        const code = text.charCodeAt(at);
        if (code > 255) {
            throw new RangeError(`Websock: the character at ${at} does not fit into a byte; encode it first`);
        }
        bytes[at] = code;
    }
    return bytes;
}

/** The bytes of one complete RFC 4648 base64 text, or null where it is none. */
function decodeBase64(text) {
    let binary;
    try {
        binary = atob(text);
    } catch {
        return null;
    }
    // atob forgives white space, missing padding and stray trailing bits; none of them survives the way back.
    return btoa(binary) === text ? fromLatin1(binary) : null;
}

function toBytes(data) {
    if (ArrayBuffer.isView(data)) {
        return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    }
    if (data instanceof ArrayBuffer) {
        return new Uint8Array(data);
    }
    if (!Array.isArray(data)) {
        throw new TypeError('Websock: expected an array of bytes, an ArrayBuffer or a view of one');
    }
    return Uint8Array.from(data);
}

/**
 * Bytes in `buffer` from `start` to `end`, never more than `limit` of them.
 *
 * Room is made by moving the bytes to the front only while they fill at most half of the buffer, and by a buffer at
 * least twice as large otherwise. Between two moves at least half as many bytes come in as the second one copies, so
 * the cost of a byte is constant; the buffer never exceeds twice the limit.
 */
class ByteQueue {
    constructor(limit) {
        this.limit = limit;
        this.buffer = new Uint8Array(Math.min(FIRST_CAPACITY, 2 * limit));
        this.start = 0;
        this.end = 0;
    }

    get length() {
        return this.end - this.start;
    }

    /** A view, valid until the next append. */
    get bytes() {
        return this.buffer.subarray(this.start, this.end);
    }

    fits(count) {
        return this.length + count <= this.limit;
    }

    append(bytes) {
        if (this.end + bytes.length > this.buffer.length) {
            this._makeRoom(this.length + bytes.length);
        }
        this.buffer.set(bytes, this.end);
        this.end += bytes.length;
    }

    clear() {
        this.start = 0;
        this.end = 0;
    }

    _makeRoom(needed) {
        const capacity = this.buffer.length;
        if (2 * needed <= capacity) {
            this.buffer.copyWithin(0, this.start, this.end);
        } else {
            const larger = new Uint8Array(Math.min(2 * Math.max(capacity, needed), 2 * this.limit));
            larger.set(this.bytes);
            this.buffer = larger;
        }
        this.end -= this.start;
        this.start = 0;
    }
}

/**
 * Events, each with one handler at a time:
 *
 * - `open()`: connected; what was sent meanwhile has gone out.
 * - `message()`: there is more to read in the receive queue.
 * - `close(event)`: the connection ended; what is unread stays readable until the next one begins.
 * - `error(event)`: the channel's Event, or an Error where Websock itself ends the connection.
 * - `reconnect({attempt, delay})`: after `close`, another attempt, counted from 1, follows in `delay` milliseconds.
 *
 * What a handler throws goes to the caller, the browser; queues and timers are in order by then.
 */
export class Websock {
    /**
     * @param {object} [options]
     * @param {number} [options.maxReceive] unread bytes held before the connection is closed with 4009 (64 MiB). A
     *     browser cannot be told to stop receiving, so a reader that never reads costs this much.
     * @param {number} [options.maxSend] bytes held in the send queue (64 MiB).
     * @param {boolean|object} [options.reconnect] true, or any of `minDelay` (500) and `maxDelay` (30000), in
     *     milliseconds, and `attempts` (10) in a row. The delay doubles with each attempt, and between half and all of
     *     it is waited. Attempts count as one row until bytes arrive: a proxy that cannot reach its target opens
     *     before it closes. Each connection is a stream of its own: it begins with both queues empty. There is no
     *     attempt after close(), after an error of Websock's own, or after a code that makes it pointless.
     * @param {Function} [options.WebSocket] the constructor to use in place of the browser's.
     * @param {object} [options.clock] its setTimeout and clearTimeout in place of the browser's.
     * @param {Function} [options.random] in place of Math.random.
     */
    constructor({ maxReceive = 64 * MIB, maxSend = 64 * MIB, reconnect = false, ...replacements } = {}) {
        this._maxReceive = maxReceive;
        this._maxSend = maxSend;
        this._retry = { ...RETRY_DEFAULTS, ...reconnect };
        this._mayRetry = Boolean(reconnect);
        this._WebSocket = replacements.WebSocket;
        this._clock = replacements.clock ?? globalThis;
        this._random = replacements.random ?? Math.random;

        this._channel = null;
        this._connect = null;
        this._attempts = 0;
        this._timer = null;
        this._handlers = new Map();
        this._renewQueues();
    }

    // -- The connection

    /**
     * Connect. A former connection's `close` event, if still to come, is not delivered.
     *
     * @param {string|URL} url ws: or wss:
     * @param {string|string[]} [protocols] offered in this order; `base64` is spoken if the server chose it.
     * @throws {Error} if a connection is open or under way; and what the WebSocket constructor throws.
     */
    open(url, protocols = ['binary', 'base64']) {
        this._requireIdle();
        this._cancelRetry();
        this._attempts = 0;
        this._connect = () => this._adopt(new (this._WebSocket ?? globalThis.WebSocket)(url, protocols));
        this._connect();
    }

    /**
     * Take over a WebSocket or RTCDataChannel in any state. One that is open already brings no `open` event, and one
     * that ends is not replaced.
     *
     * @throws {Error} if a connection is open or under way.
     */
    attach(channel) {
        this._requireIdle();
        this._cancelRetry();
        this._connect = null;
        this._adopt(channel);
    }

    /**
     * Close, for good: no more `message` events and no attempt to reconnect; `close` follows.
     *
     * @param {number} [code] 1000 or 3000 to 4999
     * @param {string} [reason] at most 123 bytes of UTF-8
     * @throws {DOMException} what WebSocket.close() throws for another code or a longer reason.
     */
    close(code, reason) {
        this._cancelRetry();
        this._connect = null;
        this._channel?.close(code, reason);
        if (this._channel) {
            this._channel.onmessage = null;
        }
    }

    /** 'unused' before the first open(), then 'connecting', 'open', 'closing' or 'closed'. */
    get readyState() {
        const state = this._channel?.readyState ?? 'unused';
        return STATES[state] ?? state;
    }

    /** Whether an attempt to reconnect is waiting for its time. */
    get reconnecting() {
        return this._timer !== null;
    }

    /** The subprotocol in use, '' for none. */
    get protocol() {
        return this._channel?.protocol ?? '';
    }

    /** Bytes sent or queued that have not reached the network, as far as the browser tells. */
    get bufferedAmount() {
        return this._sendQueue.length + (this._channel?.bufferedAmount ?? 0);
    }

    /**
     * Call `handler` at each `event` from now on, in place of the one before.
     *
     * @throws {TypeError} for an event that does not exist.
     */
    on(event, handler) {
        if (!EVENTS.includes(event)) {
            throw new TypeError(`Websock: no event is called ${event}`);
        }
        this._handlers.set(event, handler);
    }

    /** Call nothing at `event` any more; with a `handler`, only if that is the one called so far. */
    off(event, handler = this._handlers.get(event)) {
        if (this._handlers.get(event) === handler) {
            this._handlers.delete(event);
        }
    }

    // -- Sending

    /**
     * Send bytes as one message, after those still in the queue. While connecting they are queued; on a connection
     * that has ended they are dropped, as a WebSocket does.
     *
     * @param {number[]|ArrayBuffer|ArrayBufferView} data numbers count modulo 256; the caller may reuse a buffer.
     * @returns {boolean} whether they were handed to the browser.
     * @throws {Error} before the first open(); RangeError where the queue would exceed `maxSend`.
     */
    send(data) {
        const bytes = toBytes(data);
        if (this._sendQueue.length === 0 && this.readyState === 'open') {
            this._transmit(bytes);
            return true;
        }
        return this.queue(bytes) && this.flush();
    }

    /**
     * Add bytes to the send queue, for the next flush() to send as one message.
     *
     * @returns {boolean} false if they were dropped, as send() does.
     * @throws {Error} as send() does.
     */
    queue(data) {
        const bytes = toBytes(data);
        if (this.readyState === 'unused') {
            throw new Error('Websock: there is no connection yet');
        }
        if (this.readyState !== 'connecting' && this.readyState !== 'open') {
            return false;
        }
        if (!this._sendQueue.fits(bytes.length)) {
            throw new RangeError(`Websock: more than ${this._maxSend} bytes to send`);
        }
        this._sendQueue.append(bytes);
        return true;
    }

    /**
     * Send what is queued as one message; once connected this happens by itself.
     *
     * @returns {boolean} whether the connection is open, and so the queue empty.
     */
    flush() {
        if (this.readyState !== 'open') {
            return false;
        }
        this._transmit(this._sendQueue.bytes);
        this._sendQueue.clear();
        return true;
    }

    /**
     * Send a string of which each character is a byte. For other text: `send(new TextEncoder().encode(text))`.
     *
     * @returns {boolean} as send() does.
     * @throws {RangeError} at a character beyond U+00FF; and as send() does.
     */
    sendString(text) {
        return this.send(fromLatin1(text));
    }

    send_string(text) {
        return this.sendString(text);
    }

    /** The queued bytes: a view, valid until the next queue(), send() or flush(). */
    get sQ() {
        return this._sendQueue.bytes;
    }

    get_sQ() {
        return this.sQ;
    }

    // -- The receive queue
    //
    // Whatever reads more bytes than there are throws RangeError and reads nothing. Views are valid, and the index
    // may go back, only until the next message comes in, which may move or drop what was read before.

    /** The number of unread bytes. */
    rQlen() {
        return this._receiveQueue.length;
    }

    /** All bytes held, read ones included: a view, in which `rQi` is the index of the first unread byte. */
    get rQ() {
        return this._receiveQueue.buffer.subarray(0, this._receiveQueue.end);
    }

    get_rQ() {
        return this.rQ;
    }

    rQwhole() {
        return this.rQ;
    }

    get rQi() {
        return this._receiveQueue.start;
    }

    /** @throws {RangeError} outside of 0 to `rQ.length`. */
    set rQi(index) {
        if (!Number.isInteger(index) || index < 0 || index > this._receiveQueue.end) {
            throw new RangeError(`Websock: no index ${index} in a queue of ${this._receiveQueue.end} bytes`);
        }
        this._receiveQueue.start = index;
    }

    get_rQi() {
        return this.rQi;
    }

    set_rQi(index) {
        this.rQi = index;
    }

    /** The next byte, left unread. */
    rQpeek8() {
        this._require(1);
        return this._receiveQueue.buffer[this._receiveQueue.start];
    }

    rQshift8() {
        return this._takeNumber(1);
    }

    rQpop8() {
        return this._takeNumber(1);
    }

    /** An unsigned number, big-endian. */
    rQshift16() {
        return this._takeNumber(2);
    }

    /** An unsigned number, big-endian. */
    rQshift32() {
        return this._takeNumber(4);
    }

    /** `length` bytes, or all, as a string of one character a byte. */
    rQshiftStr(length = this.rQlen()) {
        return latin1(this._take(length));
    }

    /** `length` bytes, or all: a copy. */
    rQshiftBytes(length = this.rQlen()) {
        return this._take(length).slice();
    }

    /**
     * Copy `length` bytes, or all, to the beginning of `target`.
     *
     * @throws {RangeError} also where `target` is shorter.
     */
    rQshiftTo(target, length = this.rQlen()) {
        target.set(this._peek(length));
        this.rQskipBytes(length);
    }

    rQskipBytes(length) {
        this._take(length);
    }

    /** A copy of unread bytes, left unread; `start` and `end` as in Array.slice, from the first unread byte. */
    rQslice(start, end) {
        return this._receiveQueue.bytes.slice(start, end);
    }

    /**
     * Whether to wait for more: true if fewer than `count` bytes are unread.
     *
     * @param {string} what is waited for, for the error
     * @param {number} count
     * @param {number} [goback] how many bytes to unread before returning true, so that the next `message` event
     *     finds the beginning again
     * @throws {Error} if fewer than `goback` bytes have been read.
     */
    rQwait(what, count, goback = 0) {
        if (this.rQlen() >= count) {
            return false;
        }
        if (goback > this.rQi) {
            throw new Error(`Websock: waiting for ${what}, cannot go back ${goback} bytes of ${this.rQi}`);
        }
        this.rQi -= goback;
        return true;
    }

    // -- Inside

    _require(count) {
        if (!Number.isInteger(count) || count < 0 || count > this.rQlen()) {
            throw new RangeError(`Websock: cannot read ${count} bytes of ${this.rQlen()}`);
        }
    }

    /** A view of the next bytes, left unread. */
    _peek(count) {
        this._require(count);
        const { buffer, start } = this._receiveQueue;
        return buffer.subarray(start, start + count);
    }

    _take(count) {
        const bytes = this._peek(count);
        this._receiveQueue.start += count;
        return bytes;
    }

    _takeNumber(size) {
        this._require(size);
        const queue = this._receiveQueue;
        let value = 0;
        for (const end = queue.start + size; queue.start < end; queue.start += 1) {
            value = value * 256 + queue.buffer[queue.start];
        }
        return value;
    }

    _requireIdle() {
        if (this.readyState === 'connecting' || this.readyState === 'open') {
            throw new Error('Websock: close() before opening another connection');
        }
    }

    _renewQueues() {
        this._receiveQueue = new ByteQueue(this._maxReceive);
        this._sendQueue = new ByteQueue(this._maxSend);
    }

    _adopt(channel) {
        if (this._channel) {
            const former = this._channel;
            former.onopen = former.onmessage = former.onerror = former.onclose = null;
        }
        this._channel = channel;
        this._renewQueues();
        channel.binaryType = 'arraybuffer';
        channel.onopen = () => this._opened();
        channel.onmessage = (event) => this._received(event.data);
        channel.onerror = (event) => this._emit('error', event);
        channel.onclose = (event) => this._closed(event);
    }

    _emit(event, argument) {
        const handler = this._handlers.get(event);
        handler?.(argument);
    }

    _transmit(bytes) {
        if (bytes.length > 0) {
            this._channel.send(this.protocol === 'base64' ? btoa(latin1(bytes)) : bytes);
        }
    }

    _opened() {
        this.flush();
        this._emit('open');
    }

    _received(data) {
        const isText = typeof data === 'string';
        if (isText !== (this.protocol === 'base64')) {
            this._fail(UNSUPPORTED_DATA, isText ? 'text message in a binary stream' : 'binary message in base64');
            return;
        }
        const bytes = isText ? decodeBase64(data) : new Uint8Array(data);
        if (bytes === null) {
            this._fail(INVALID_DATA, 'malformed base64');
        } else if (!this._receiveQueue.fits(bytes.length)) {
            this._fail(TOO_BIG, `more than ${this._maxReceive} bytes unread`);
        } else if (bytes.length > 0) {
            this._attempts = 0;
            this._receiveQueue.append(bytes);
            this._emit('message');
        }
    }

    _fail(code, reason) {
        this.close(code, reason);
        this._emit('error', new Error(`Websock: ${reason}`));
    }

    _closed(event) {
        const delay = this._scheduleRetry(event.code);
        try {
            this._emit('close', event);
        } finally {
            // a handler may have called close() or open()
            if (this.reconnecting) {
                this._emit('reconnect', { attempt: this._attempts, delay });
            }
        }
    }

    _scheduleRetry(code) {
        const { minDelay, maxDelay, attempts } = this._retry;
        if (!this._mayRetry || !this._connect || !RETRY_CODES.has(code) || this._attempts >= attempts) {
            return null;
        }
        const delay = Math.min(maxDelay, minDelay * 2 ** this._attempts) * (0.5 + this._random() / 2);
        this._attempts += 1;
        this._timer = this._clock.setTimeout(() => {
            this._timer = null;
            this._connect();
        }, delay);
        return delay;
    }

    _cancelRetry() {
        if (this.reconnecting) {
            this._clock.clearTimeout(this._timer);
            this._timer = null;
        }
    }
}

export default Websock;
