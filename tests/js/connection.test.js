/** connection.js under node: `node --test connection.test.js`. */

import { deepEqual, equal } from 'node:assert/strict';
import { test } from 'node:test';

import { Connection } from '../../wsproxy/static/connection.js';
import { Websock } from '../../wsproxy/static/websock.js';
import { FakeClock, recording } from './fake.js';

const URL_OF = new URL('ws://a.example/');
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A connection that was asked for, the sockets it makes, and what it tells. */
function connected({ reason = null, ...options } = {}) {
    const { WebSocket, sockets } = recording();
    const clock = new FakeClock();
    const told = [];
    const asked = [];
    const connection = new Connection({
        opened: () => told.push('opened'),
        received: (sock) => told.push(sock.rQshiftStr()),
        waiting: (text) => told.push(`waiting: ${text}`),
        ended: (text, isClean) => told.push(`ended: ${text}${isClean ? ' (clean)' : ''}`),
        ask: async (url) => {
            asked.push(url.href);
            return reason;
        },
        sock: new Websock({ WebSocket }),
        clock,
        random: () => 1,
        ...options,
    });
    connection.connect(URL_OF);
    return { connection, sockets, clock, told, asked };
}

test('it opens, receives, and ends as the target ends', async () => {
    const { sockets, told, asked, connection } = connected();
    sockets[0].accept();
    sockets[0].deliver([65]);
    sockets[0].end(1000, 'Target closed');
    await settled();
    deepEqual(told, ['opened', 'A', 'ended: Closed: Target closed. (clean)']);
    deepEqual([asked, connection.isIdle], [[], true]);
});

test('a failed open is explained, and final where the reason lasts', async () => {
    const { sockets, clock, told, asked } = connected({ reason: { text: 'Refused: no (403).', isLasting: true } });
    sockets[0].fail();
    await settled();
    clock.advance(1e6);
    deepEqual(told, ['ended: Refused: no (403).']);
    deepEqual([asked, sockets.length], [['ws://a.example/'], 1]);
});

test('one that passes is tried again, at growing intervals, ten times in a row', async () => {
    const { sockets, clock, told, connection } = connected({ reason: { text: 'Full (503).', isLasting: false } });
    const delays = [];
    for (let count = 0; count < 10; count += 1) {
        sockets.at(-1).fail();
        await settled();
        delays.push(clock.next());
        clock.advance(delays.at(-1));
        equal(sockets.length, count + 2);
    }
    sockets.at(-1).fail();
    await settled();
    deepEqual(delays, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000, 30000]);
    equal(told[0], 'waiting: Full (503). Next attempt in 1 s.');
    equal(told.at(-1), 'ended: Full (503).');
    equal(connection.isIdle, true);
});

test('where nobody can be asked, the browser\'s own words have to do', async () => {
    const { sockets, told } = connected({ reason: null });
    sockets[0].fail();
    await settled();
    equal(told[0].startsWith('waiting: No connection: the server is not there'), true);
});

test('a target that will not be reached is not tried again; one that refused is', async () => {
    for (const [reason, outcome] of [
        ['Target name not found', 'ended: Closed: Target name not found.'],
        ['Target refused the connection', 'waiting: Closed: Target refused the connection. Next attempt in 1 s.'],
    ]) {
        const { sockets, told } = connected();
        sockets[0].accept();
        sockets[0].end(1011, reason);
        await settled();
        deepEqual(told, ['opened', outcome]);
    }
});

test('only success makes the next failure the first in a row', async () => {
    for (const isSettled of [false, true]) {
        const { sockets, clock, connection } = connected();
        for (let count = 0; count < 3; count += 1) {
            sockets.at(-1).accept();
            sockets.at(-1).deliver([65]);
            if (isSettled) {
                connection.settle();
            }
            sockets.at(-1).end(1006);
            await settled();
            equal(clock.next(), isSettled ? 500 : 500 * 2 ** count);
            clock.advance(clock.next());
        }
    }
});

test('codes after which to come back are the page\'s choice', async () => {
    const { sockets, told } = connected({ codes: new Set([1000]) });
    sockets[0].accept();
    sockets[0].end(1000);
    await settled();
    equal(told[1], 'waiting: Closed. Next attempt in 1 s.');
});

test('who disconnects hears no more: not of the end, nor of the reason, nor of another attempt', async () => {
    const ends = [
        ({ sockets }) => sockets[0].accept(),
        ({ sockets }) => sockets[0].fail(),
        async ({ sockets }) => {
            sockets[0].fail();
            await settled();
        },
    ];
    for (const before of ends) {
        const world = connected({ reason: { text: 'x', isLasting: false } });
        await before(world);
        world.told.length = 0;
        world.connection.disconnect();
        world.sockets[0].end(1006);
        await settled();
        world.clock.advance(1e6);
        deepEqual([world.told, world.sockets.length, world.connection.isIdle], [[], 1, true]);
    }
});

test('another connect() takes the place of one under way', async () => {
    const { connection, sockets, told } = connected();
    connection.connect(new URL('ws://b.example/'));
    sockets[0].end(1006);
    sockets[1].accept();
    await settled();
    deepEqual([told, sockets[0].closes.length, connection.url.host], [['opened'], 1, 'b.example']);
});
