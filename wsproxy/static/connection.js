/**
 * A connection that is kept up: it says how it stands, why it failed, and tries again where that may help.
 *
 *     connect() ─► busy ─► opened ─► received … ─► ended ─► (the reason is asked for) ─► busy, after a while
 *                                                                                   └──► over, where that is no use
 *
 * Websock knows how to try again, too; but whether to is known here only once the proxy has been asked for the reason,
 * and how long to wait only where a page says what success is: a server that greets and hangs up is none.
 *
 * @module
 */

import { endingOf, isClean } from './reason.js';
import { Websock } from './websock.js';

/** After these codes another attempt may fare better; the others say that somebody meant it. See websock.js. */
export const RETRY_CODES = new Set([1001, 1006, 1011, 1012, 1013, 1014, 4002]);

const ABNORMAL = 1006;
const DEFAULTS = { minDelay: 500, maxDelay: 30000, attempts: 10 };

export class Connection {
    /**
     * @param {object} options
     * @param {function(URL)} [options.opened]
     * @param {function(Websock)} [options.received] there is more to read
     * @param {function(string, boolean)} options.ended why, once it is known, and whether as it should
     * @param {function(string)} options.waiting another attempt follows; why, and when
     * @param {function(URL): Promise} options.ask as askReason; may bring null where nobody can be asked
     * @param {Set<number>} [options.codes] close codes after which to try again
     * @param {object} [options.retry] `minDelay` and `maxDelay` in milliseconds, `attempts` in a row
     * @param {Websock} [options.sock]
     * @param {object} [options.clock] its setTimeout and clearTimeout in place of the browser's
     * @param {function(): number} [options.random] in place of Math.random
     */
    constructor({ opened = () => {}, received = () => {}, ended, waiting, ask, codes = RETRY_CODES, ...options }) {
        this._tellOpened = opened;
        this._tellEnded = ended;
        this._tellWaiting = waiting;
        this._codes = codes;
        this._ask = ask;
        this._retry = { ...DEFAULTS, ...options.retry };
        this._clock = options.clock ?? globalThis;
        this._random = options.random ?? Math.random;
        this._url = null;
        this._attempts = 0;
        this._timer = null;
        this._turn = 0;
        this._state = 'idle';
        this.sock = options.sock ?? new Websock();
        this.sock.on('open', () => this._opened());
        this.sock.on('message', () => received(this.sock));
        this.sock.on('close', (event) => this._closed(event));
    }

    /** The last one that was asked for, or null. */
    get url() {
        return this._url;
    }

    get isOpen() {
        return this.sock.readyState === 'open';
    }

    /** Whether it is over: neither open, nor under way, nor waiting for another attempt. */
    get isIdle() {
        return this._state === 'idle';
    }

    /**
     * @param {URL} url
     * @throws what the WebSocket constructor throws
     */
    connect(url) {
        this.disconnect();
        this._url = url;
        this._attempts = 0;
        this._open();
    }

    /** End it, for good and without a word. */
    disconnect() {
        this._turn += 1;
        this._clock.clearTimeout(this._timer);
        this._state = 'idle';
        this.sock.close(this.isOpen ? 1000 : undefined);
    }

    /** The other end has shown that it works: the next failure is the first one in a row. */
    settle() {
        this._attempts = 0;
    }

    _open() {
        this.sock.open(this._url);
        this._state = 'opening';
    }

    _opened() {
        this._state = 'open';
        this._tellOpened(this._url);
    }

    async _closed(event) {
        if (this.isIdle) {
            return; // nobody waits for it any more
        }
        const wasOpen = this._state === 'open';
        const turn = this._turn;
        this._state = 'ended';
        const isUnexplained = event.code === ABNORMAL && !wasOpen;
        const ending = (isUnexplained && await this._ask(this._url)) || endingOf(event, wasOpen);
        if (turn === this._turn) {
            this._conclude(ending, event.code);
        }
    }

    _conclude({ text, isLasting }, code) {
        const { minDelay, maxDelay, attempts } = this._retry;
        if (isLasting || !this._codes.has(code) || this._attempts >= attempts) {
            this._state = 'idle';
            this._tellEnded(text, isClean(code));
            return;
        }
        const delay = Math.min(maxDelay, minDelay * 2 ** this._attempts) * (0.5 + this._random() / 2);
        this._attempts += 1;
        this._timer = this._clock.setTimeout(() => this._open(), delay);
        this._tellWaiting(`${text} Next attempt in ${Math.ceil(delay / 1000)} s.`);
    }
}
