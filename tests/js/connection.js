/** Opening, sending, closing, and the events that tell of it. */

import { bytesEqual, equal, same, throws } from './assert.js';
import { FakeWebSocket, opened, recording } from './fake.js';

export function connectionSuite({ test, Websock }) {
    function unopened(options) {
        const { WebSocket, sockets } = recording();
        return { sock: new Websock({ WebSocket, ...options }), sockets };
    }

    function connecting(options) {
        const { sock, sockets } = unopened(options);
        sock.open('ws://localhost/');
        return { sock, peer: sockets[0], sockets };
    }

    function log(sock) {
        const events = [];
        for (const name of ['open', 'message', 'close', 'error']) {
            sock.on(name, (event) => events.push([name, event?.code ?? event?.type ?? null]));
        }
        return events;
    }

    test('binary and base64 are offered unless others are asked for', () => {
        const { sock, sockets } = unopened();
        sock.open('ws://localhost/one');
        equal(sockets[0].url, 'ws://localhost/one');
        same(sockets[0].offered, ['binary', 'base64']);
        equal(sockets[0].binaryType, 'arraybuffer');
        sock.close();
        sock.open('ws://localhost/two', 'chat');
        same(sockets[1].offered, ['chat']);
        sock.close();
        sock.open('ws://localhost/three', []);
        same(sockets[2].offered, []);
    });

    test('the state follows the connection', () => {
        const { sock, sockets } = unopened();
        const states = [sock.readyState];
        const note = () => states.push(sock.readyState);
        sock.on('open', note);
        sock.on('close', note);
        sock.open('ws://localhost/');
        note();
        sockets[0].accept('base64');
        equal(sock.protocol, 'base64');
        sock.close();
        note();
        sockets[0].end(1000);
        same(states, ['unused', 'connecting', 'open', 'closing', 'closed']);
    });

    test('events come once each and in order', () => {
        const { sock, peer } = connecting();
        const events = log(sock);
        peer.accept();
        peer.deliver([1]);
        peer.fail();
        same(events, [['open', null], ['message', null], ['error', 'error'], ['close', 1006]]);
    });

    test('an event has one handler, and off() takes only the one it names', () => {
        const { sock, peer } = opened(Websock);
        const calls = [];
        const first = () => calls.push('first');
        const second = () => calls.push('second');
        sock.on('message', first);
        sock.on('message', second);
        peer.deliver([1]);
        sock.off('message', first);
        peer.deliver([1]);
        sock.off('message', second);
        peer.deliver([1]);
        sock.on('message', first);
        sock.off('message');
        sock.off('message');
        peer.deliver([1]);
        same(calls, ['second', 'second']);
        throws(() => sock.on('data', first), 'TypeError', /no event is called data/);
        same(peer.thrown, []);
    });

    test('a send is a message; while connecting they run together', () => {
        const { sock, peer } = connecting();
        equal(sock.send([1]), false);
        equal(sock.send([2, 3]), false);
        bytesEqual(sock.sQ, [1, 2, 3]);
        bytesEqual(sock.get_sQ(), [1, 2, 3]);
        equal(sock.bufferedAmount, 3);
        equal(sock.flush(), false);
        same(peer.sent, []);
        peer.accept();
        equal(sock.bufferedAmount, 0);
        equal(sock.send([4]), true);
        equal(sock.sendString('a'), true);
        same(peer.sent.map((data) => Array.from(data)), [[1, 2, 3], [4], [97]]);
        peer.bufferedAmount = 7;
        equal(sock.bufferedAmount, 7);
    });

    test('what was sent before is out when the open event comes', () => {
        const { sock, peer } = connecting();
        sock.send([1]);
        let received = null;
        sock.on('open', () => {
            received = peer.received;
            throw new Error('from the handler');
        });
        peer.accept();
        bytesEqual(received, [1]);
        equal(peer.thrown.length, 1);
        sock.send([2]);
        bytesEqual(peer.received, [1, 2]);
    });

    test('queue() waits for flush() or the next send() to make one message', () => {
        const { sock, peer } = opened(Websock);
        equal(sock.queue([1]), true);
        equal(sock.queue(Uint8Array.of(2)), true);
        same(peer.sent, []);
        equal(sock.flush(), true);
        sock.queue([3]);
        sock.send([4]);
        equal(sock.flush(), true);
        same(peer.sent.map((data) => Array.from(data)), [[1, 2], [3, 4]]);
    });

    test('an empty send is no message', () => {
        const { sock, peer } = opened(Websock);
        equal(sock.send([]), true);
        equal(sock.sendString(''), true);
        same(peer.sent, []);
    });

    test('a view sends its own bytes only', () => {
        const { sock, peer } = opened(Websock);
        const bytes = Uint8Array.of(0, 1, 2, 3, 4, 5);
        sock.send(bytes.subarray(1, 3));
        sock.send(new DataView(bytes.buffer, 3, 2));
        sock.send([256, -1]);
        bytesEqual(peer.received, [1, 2, 3, 4, 0, 255]);
    });

    test('what is no sequence of bytes is refused', () => {
        const { sock, peer } = opened(Websock);
        for (const data of ['text', 5, null, undefined, {}]) {
            throws(() => sock.send(data), 'TypeError', /expected an array of bytes/);
            throws(() => sock.queue(data), 'TypeError', /expected an array of bytes/);
        }
        for (const text of ['caf\u0119', '\u{1f600}']) {
            throws(() => sock.send_string(text), 'RangeError', /does not fit into a byte/);
        }
        same(peer.sent, []);
    });

    test('the send queue has a limit, and what exceeds it leaves the rest alone', () => {
        const { sock, peer } = connecting({ maxSend: 4 });
        sock.send([1, 2, 3]);
        throws(() => sock.send([4, 5]), 'RangeError', /more than 4 bytes/);
        sock.send([6]);
        peer.accept();
        bytesEqual(peer.received, [1, 2, 3, 6]);
    });

    test('bytes stay queued when the channel cannot take them', () => {
        const { sock, peer } = opened(Websock);
        const send = peer.send;
        peer.send = () => {
            throw new DOMException('buffer full', 'OperationError');
        };
        sock.queue([1]);
        throws(() => sock.flush(), 'OperationError');
        peer.send = send;
        sock.send([2]);
        bytesEqual(peer.received, [1, 2]);
    });

    test('sending before open() is an error, sending after the end is dropped', () => {
        const { sock, sockets } = unopened();
        throws(() => sock.send([1]), 'Error', /no connection yet/);
        equal(sock.flush(), false);
        sock.open('ws://localhost/');
        sockets[0].accept();
        sock.close();
        equal(sock.send([1]), false);
        sockets[0].end(1000);
        equal(sock.send([1]), false);
        equal(sock.queue([1]), false);
        equal(sock.bufferedAmount, 0);
    });

    test('after close() no message is delivered, and the close event is', () => {
        const { sock, peer } = opened(Websock);
        const events = log(sock);
        peer.deliver([1]);
        sock.close(4321, 'enough');
        same(peer.closes, [{ code: 4321, reason: 'enough' }]);
        peer.deliver([2]);
        peer.end(4321);
        same(events, [['message', null], ['close', 4321]]);
        bytesEqual(sock.rQshiftBytes(), [1]);
    });

    test('close() before open() does nothing; a code no page may send is refused', () => {
        const { sock, sockets } = unopened();
        sock.close();
        equal(sock.readyState, 'unused');
        sock.open('ws://localhost/');
        throws(() => sock.close(1002), 'InvalidAccessError');
        equal(sockets[0].closes.length, 0);
    });

    test('what the target sent before the end stays readable after it', () => {
        const { sock, peer } = opened(Websock);
        peer.deliver([1, 2]);
        peer.end(1000);
        bytesEqual(sock.rQshiftBytes(), [1, 2]);
    });

    test('another open() begins anew and hears nothing of the former connection', () => {
        const { sock, peer, sockets } = connecting();
        throws(() => sock.open('ws://localhost/'), 'Error', /close\(\) before/);
        peer.accept();
        throws(() => sock.open('ws://localhost/'), 'Error', /close\(\) before/);
        throws(() => sock.attach(new FakeWebSocket('ws://localhost/')), 'Error', /close\(\) before/);
        peer.deliver([1]);
        sock.queue([1]);
        sock.close();
        sock.open('ws://localhost/');
        equal(sock.rQlen() + sock.bufferedAmount, 0);
        const events = log(sock);
        peer.deliver([2]);
        peer.fail();
        same(events, []);
        sockets[1].accept();
        sockets[1].deliver([3]);
        bytesEqual(sock.rQshiftBytes(), [3]);
    });

    test('what the WebSocket constructor throws comes out of open(), which may be called again', () => {
        let broken = true;
        const sock = new Websock({
            WebSocket: function (...args) {
                if (broken) {
                    throw new DOMException('bad address', 'SyntaxError');
                }
                return new FakeWebSocket(...args);
            },
        });
        throws(() => sock.open('no address'), 'SyntaxError');
        equal(sock.readyState, 'unused');
        broken = false;
        sock.open('ws://localhost/');
        equal(sock.readyState, 'connecting');
    });

    test('a channel is taken over in the state it is in', () => {
        const { sock } = unopened();
        const channel = new FakeWebSocket('ws://localhost/');
        channel.accept('binary');
        sock.attach(channel);
        equal(sock.readyState, 'open');
        equal(channel.binaryType, 'arraybuffer');
        sock.send([1]);
        channel.deliver([2]);
        bytesEqual(channel.received, [1]);
        bytesEqual(sock.rQshiftBytes(), [2]);
    });

    test('a channel that names its states, as an RTCDataChannel does, works alike', () => {
        const { sock } = unopened({ reconnect: true });
        const sent = [];
        const channel = { readyState: 'connecting', protocol: '', send: (data) => sent.push(...data), close() {} };
        sock.attach(channel);
        sock.send([1]);
        channel.readyState = 'open';
        channel.onopen();
        sock.send([2]);
        bytesEqual(sent, [1, 2]);
        channel.readyState = 'closed';
        channel.onclose({ type: 'close' });
        equal(sock.readyState, 'closed');
        equal(sock.reconnecting, false);
    });
}
