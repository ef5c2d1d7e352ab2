/** Reconnecting: when, how often, after how long, and when not. */

import { bytesEqual, equal, same } from './assert.js';
import { FakeClock, FakeWebSocket, recording } from './fake.js';

export function reconnectSuite({ test, Websock }) {
    function setUp({ reconnect = true, random = () => 1 } = {}) {
        const { WebSocket, sockets } = recording();
        const clock = new FakeClock();
        const sock = new Websock({ WebSocket, clock, random, reconnect });
        const events = [];
        sock.on('open', () => events.push('open'));
        sock.on('close', ({ code }) => events.push(code));
        sock.on('reconnect', ({ attempt, delay }) => events.push({ attempt, delay }));
        sock.open('ws://localhost/', ['binary']);
        return { sock, sockets, clock, events, last: () => sockets.at(-1) };
    }

    test('it is off unless asked for', () => {
        const { sock, clock, events, last } = setUp({ reconnect: false });
        last().accept();
        last().end(1006);
        same(events, ['open', 1006]);
        equal(clock.pending, 0);
        equal(sock.reconnecting, false);
    });

    test('a lost connection is opened again after the delay, to the same address', () => {
        const { sock, sockets, clock, events, last } = setUp();
        last().accept();
        last().end(1006);
        equal(sock.reconnecting, true);
        equal(sock.readyState, 'closed');
        clock.advance(499);
        equal(sockets.length, 1);
        clock.advance(1);
        equal(sockets.length, 2);
        equal(sock.reconnecting, false);
        equal(last().url, 'ws://localhost/');
        same(last().offered, ['binary']);
        last().accept();
        same(events, ['open', 1006, { attempt: 1, delay: 500 }, 'open']);
    });

    test('the delay doubles up to its maximum, then the attempts end', () => {
        const { sock, clock, events, last } = setUp({ reconnect: { minDelay: 100, maxDelay: 1000, attempts: 6 } });
        for (let round = 0; round < 7; round += 1) {
            last().fail();
            clock.advance(1000);
        }
        same(
            events.filter((event) => event !== 1006),
            [100, 200, 400, 800, 1000, 1000].map((delay, index) => ({ attempt: index + 1, delay })),
        );
        equal(events.at(-1), 1006);
        equal(sock.reconnecting, false);
        equal(clock.pending, 0);
    });

    test('chance takes away at most half of the delay', () => {
        for (const [chance, delay] of [[0, 250], [0.5, 375], [1, 500]]) {
            const { events, last } = setUp({ random: () => chance });
            last().fail();
            same(events.at(-1), { attempt: 1, delay });
        }
    });

    test('opening alone does not start the count again, bytes do', () => {
        const { clock, events, last } = setUp();
        for (const silent of [true, true, false]) {
            last().accept();
            if (!silent) {
                last().deliver([1]);
            }
            last().end(1011);
            clock.advance(30000);
        }
        same(
            events.filter((event) => event.attempt).map(({ attempt }) => attempt),
            [1, 2, 1],
        );
    });

    test('only codes that leave hope bring another attempt', () => {
        const hopeful = [1001, 1006, 1011, 1012, 1013, 1014, 4002];
        const hopeless = [1000, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 4000, 4001, 4003, 4999];
        for (const code of [...hopeful, ...hopeless]) {
            const { sock, last } = setUp();
            last().accept();
            last().end(code);
            equal(sock.reconnecting, hopeful.includes(code), `after ${code}, reconnecting`);
        }
    });

    test('close() is final while connected, while closing and while waiting', () => {
        const { sock, clock, events, last } = setUp();
        last().accept();
        sock.close();
        last().end(1006);
        same(events, ['open', 1006]);
        equal(clock.pending, 0);

        const waiting = setUp();
        waiting.last().fail();
        waiting.sock.close();
        equal(waiting.sock.reconnecting, false);
        waiting.clock.advance(60000);
        equal(waiting.sockets.length, 1);
    });

    test("an error of Websock's own is final, whatever code the connection ends with", () => {
        const { sock, clock, last } = setUp();
        last().accept();
        last().deliver('text');
        last().end(1006);
        equal(sock.reconnecting, false);
        equal(clock.pending, 0);
    });

    test('a close handler may call it off, or open another address at once', () => {
        const { sock, clock, events, last } = setUp();
        sock.on('close', () => sock.close());
        last().fail();
        same(events, []);
        equal(clock.pending, 0);

        const other = setUp();
        other.sock.on('close', () => other.sock.open('ws://localhost/other'));
        other.last().fail();
        same(other.events, []);
        equal(other.clock.pending, 0);
        equal(other.last().url, 'ws://localhost/other');
        equal(other.sockets.length, 2);
    });

    test('a close handler that throws does not keep it from trying again', () => {
        const { sock, clock, events, sockets, last } = setUp();
        sock.on('close', () => {
            throw new Error('from the handler');
        });
        last().fail();
        equal(last().thrown[0].message, 'from the handler');
        same(events, [{ attempt: 1, delay: 500 }]);
        clock.advance(500);
        equal(sockets.length, 2);
    });

    test('a new connection is a new stream: nothing of the old one is sent or read', () => {
        const { sock, clock, last } = setUp();
        last().accept();
        last().deliver([1, 2]);
        sock.queue([3]);
        last().end(1006);
        equal(sock.send([4]), false);
        equal(sock.rQlen(), 2);
        clock.advance(500);
        equal(sock.rQlen(), 0);
        equal(sock.send([5]), false);
        last().accept();
        bytesEqual(last().received, [5]);
        last().deliver([6]);
        bytesEqual(sock.rQshiftBytes(), [6]);
    });

    test('a channel taken over while waiting replaces the attempt', () => {
        const { sock, clock, sockets, last } = setUp();
        last().fail();
        const channel = new FakeWebSocket('ws://localhost/');
        channel.accept('');
        sock.attach(channel);
        clock.advance(60000);
        equal(sockets.length, 1);
        equal(sock.readyState, 'open');
    });

    test('open() by hand begins a new row of attempts', () => {
        const { sock, clock, events, last } = setUp();
        last().fail();
        clock.advance(500);
        last().fail();
        sock.open('ws://localhost/');
        equal(clock.pending, 0);
        last().fail();
        same(
            events.filter((event) => event.attempt).map(({ attempt }) => attempt),
            [1, 2, 1],
        );
    });
}
