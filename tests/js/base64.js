/** Text frames under the base64 subprotocol, and what fits into neither. */

import { bytesEqual, equal, same } from './assert.js';
import { fromBase64, opened, pattern, toBase64 } from './fake.js';

export function base64Suite({ test, Websock }) {
    const openedBase64 = () => opened(Websock, { protocol: 'base64' });

    test('bytes arrive the same wherever the messages divide them', () => {
        const bytes = pattern(11);
        for (let first = 0; first <= bytes.length; first += 1) {
            for (let second = first; second <= bytes.length; second += 1) {
                const { sock, peer } = openedBase64();
                for (const piece of [bytes.slice(0, first), bytes.slice(first, second), bytes.slice(second)]) {
                    peer.deliver(toBase64(piece));
                }
                bytesEqual(sock.rQshiftBytes(), bytes);
            }
        }
    });

    test('each message sent is complete base64, whatever its length', () => {
        const { sock, peer } = openedBase64();
        for (let length = 1; length <= 10; length += 1) {
            sock.send(pattern(length));
            bytesEqual(fromBase64(peer.sent.at(-1)), pattern(length));
            equal(peer.sent.at(-1).length % 4, 0);
        }
        equal(peer.sent.length, 10);
    });

    test('every byte value goes both ways', () => {
        const { sock, peer } = openedBase64();
        const bytes = Uint8Array.from({ length: 256 }, (_, value) => value);
        sock.send(bytes);
        equal(peer.sent[0], toBase64(bytes));
        peer.deliver(peer.sent[0]);
        bytesEqual(sock.rQshiftBytes(), bytes);
    });

    test('two megabytes and a byte are encoded without exhausting the stack', () => {
        const { sock, peer } = openedBase64();
        const bytes = pattern(2 * 1024 * 1024 + 1);
        sock.send(bytes);
        equal(peer.sent.length, 1);
        bytesEqual(fromBase64(peer.sent[0]), bytes);
    });

    test('what was queued while connecting is encoded as the server chose', () => {
        const { sock, peer } = openedBase64();
        sock.queue([1]);
        sock.queue([2]);
        sock.flush();
        same(peer.sent, [toBase64([1, 2])]);
    });

    const malformed = {
        'no padding': 'QQ',
        'half of the padding': 'QQ=',
        'a quantum of one character': 'QUJDR',
        'padding in the middle': 'QQ==QUJD',
        'only padding': '====',
        'white space': 'QUJD\n',
        'white space within': 'QU JD',
        'the alphabet for URLs': '-_-_',
        'stray bits after one byte': 'QR==',
        'stray bits after two bytes': 'QUJ=',
        'a character beyond ASCII': 'QUJ\u0444',
        'a NUL': 'QUJ\0',
    };
    for (const [what, text] of Object.entries(malformed)) {
        test(`base64 with ${what} closes with 4007 and adds nothing`, () => {
            const { sock, peer } = openedBase64();
            const errors = [];
            sock.on('error', ({ message }) => errors.push(message));
            peer.deliver('QUJD');
            peer.deliver(text);
            peer.deliver('QUJD');
            same(errors, ['Websock: malformed base64']);
            same(peer.closes, [{ code: 4007, reason: 'malformed base64' }]);
            equal(sock.rQshiftStr(), 'ABC');
        });
    }

    test('a message of the wrong kind closes with 4003', () => {
        for (const [protocol, data] of [['binary', 'QUJD'], ['', 'QUJD'], ['base64', [1, 2, 3]]]) {
            const { sock, peer } = opened(Websock, { protocol });
            let error = null;
            sock.on('error', (thrown) => {
                error = thrown;
            });
            peer.deliver(data);
            equal(peer.closes[0].code, 4003);
            equal(error.name, 'Error');
            equal(sock.rQlen(), 0);
        }
    });
}
