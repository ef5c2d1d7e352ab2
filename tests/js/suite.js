/**
 * Every test of websock.js that needs no network, for node and for browsers: `test(name, run)` registers one, `run`
 * throws or rejects where it fails. A browser adds `streamSuite` with its own WebSocket and the address of a proxy.
 */

import { base64Suite } from './base64.js';
import { connectionSuite } from './connection.js';
import { echoing, seeded } from './fake.js';
import { queueSuite } from './queue.js';
import { reconnectSuite } from './reconnect.js';
import { streamSuite } from './stream.js';

const random = seeded(42);

/** How an echo divides its answer: the length of the piece that begins at `at`. */
const CUTS = {
    'all at once': () => Infinity,
    'one byte at a time': (at) => (at < 20000 ? 1 : 65537),
    'anyhow': () => random() ** 4 * 100000,
};

export function suite({ test, Websock }) {
    queueSuite({ test, Websock });
    base64Suite({ test, Websock });
    connectionSuite({ test, Websock });
    reconnectSuite({ test, Websock });
    for (const protocol of ['binary', 'base64', '']) {
        for (const [manner, cut] of Object.entries(CUTS)) {
            streamSuite({
                test: (name, run) => test(`${protocol || 'no subprotocol'}, ${manner}: ${name}`, run),
                Websock,
                WebSocket: echoing(protocol, cut),
                url: 'ws://localhost/',
            });
        }
    }
}
