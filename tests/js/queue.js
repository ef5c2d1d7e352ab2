/** The receive queue: its ends, its index, its growth. */

import { bytesEqual, equal, ok, same, throws } from './assert.js';
import { opened, pattern, seeded } from './fake.js';

const TypedArray = Object.getPrototypeOf(Uint8Array);

/** How many bytes typed arrays copy within and between each other during `run`. */
function countCopies(run) {
    const { copyWithin, set } = TypedArray.prototype;
    let count = 0;
    TypedArray.prototype.copyWithin = function (target, start, end) {
        count += end - start;
        return copyWithin.call(this, target, start, end);
    };
    TypedArray.prototype.set = function (source, offset) {
        count += source.length;
        return set.call(this, source, offset);
    };
    try {
        run();
    } finally {
        Object.assign(TypedArray.prototype, { copyWithin, set });
    }
    return count;
}

export function queueSuite({ test, Websock }) {
    function filled(bytes, options) {
        const both = opened(Websock, options);
        both.peer.deliver(bytes);
        return both;
    }

    test('a new queue is empty', () => {
        const sock = new Websock();
        equal(sock.rQlen(), 0);
        equal(sock.rQi, 0);
        equal(sock.rQ.length, 0);
        equal(sock.rQshiftStr(), '');
        equal(sock.rQshiftBytes().length, 0);
        equal(sock.rQslice().length, 0);
    });

    test('reading past the end throws and reads nothing', () => {
        const { sock } = filled([1, 2, 3]);
        const reads = [
            () => sock.rQshift32(), () => sock.rQshiftStr(4), () => sock.rQshiftBytes(4), () => sock.rQskipBytes(4),
            () => sock.rQshiftTo(new Uint8Array(4), 4), () => sock.rQshiftBytes(-1), () => sock.rQshiftStr(1.5),
            () => sock.rQskipBytes(NaN),
        ];
        for (const read of reads) {
            throws(read, 'RangeError', /cannot read .+ bytes of 3/);
        }
        equal(sock.rQlen(), 3);
        sock.rQskipBytes(2);
        throws(() => sock.rQshift16(), 'RangeError');
        equal(sock.rQshift8(), 3);
        for (const read of [() => sock.rQpeek8(), () => sock.rQshift8(), () => sock.rQpop8()]) {
            throws(read, 'RangeError', /cannot read 1 bytes of 0/);
        }
    });

    test('numbers are unsigned and big-endian', () => {
        const { sock } = filled([0xff, 0xfe, 0x80, 0, 0, 1, 0x01, 0x02, 0x03, 0x04]);
        equal(sock.rQshift16(), 0xfffe);
        equal(sock.rQshift32(), 0x80000001);
        equal(sock.rQshift32(), 0x01020304);
    });

    test('a target too short for rQshiftTo is refused and nothing read', () => {
        const { sock } = filled([1, 2, 3]);
        throws(() => sock.rQshiftTo(new Uint8Array(2)), 'RangeError');
        equal(sock.rQlen(), 3);
        const target = new Uint8Array(4);
        sock.rQshiftTo(target);
        bytesEqual(target, [1, 2, 3, 0]);
        equal(sock.rQlen(), 0);
    });

    test('rQslice counts from the first unread byte and reads nothing', () => {
        const { sock } = filled([1, 2, 3, 4, 5]);
        sock.rQshift8();
        bytesEqual(sock.rQslice(), [2, 3, 4, 5]);
        bytesEqual(sock.rQslice(1), [3, 4, 5]);
        bytesEqual(sock.rQslice(1, 3), [3, 4]);
        bytesEqual(sock.rQslice(-1), [5]);
        bytesEqual(sock.rQslice(0, 99), [2, 3, 4, 5]);
        equal(sock.rQlen(), 4);
    });

    test('what rQshiftBytes and rQslice return is a copy', () => {
        const { sock } = filled([1, 2]);
        sock.rQslice().fill(9);
        const bytes = sock.rQshiftBytes(1);
        sock.rQ.fill(9);
        bytesEqual(bytes, [1]);
        equal(sock.rQshift8(), 9);
    });

    test('a string longer than the stack has room for arguments is read whole', () => {
        const bytes = pattern(300001);
        const { sock } = filled(bytes);
        const text = sock.rQshiftStr();
        bytesEqual(Array.from(text, (character) => character.charCodeAt(0)), bytes);
    });

    test('the index is where reading goes on, and may be set within the queue', () => {
        const { sock } = filled([1, 2, 3]);
        sock.rQshift16();
        equal(sock.rQi, 2);
        equal(sock.get_rQi(), 2);
        sock.rQi = 1;
        equal(sock.rQshift8(), 2);
        sock.set_rQi(0);
        equal(sock.rQlen(), 3);
        sock.rQi = 3;
        equal(sock.rQlen(), 0);
        for (const index of [-1, 4, 0.5, undefined]) {
            throws(() => {
                sock.rQi = index;
            }, 'RangeError', /no index/);
        }
        equal(sock.rQi, 3);
    });

    test('rQ, get_rQ and rQwhole show all bytes held, read ones included', () => {
        const { sock } = filled([1, 2, 3]);
        sock.rQshift8();
        for (const view of [sock.rQ, sock.get_rQ(), sock.rQwhole()]) {
            bytesEqual(view, [1, 2, 3]);
            equal(view[sock.rQi], sock.rQpeek8());
        }
    });

    test('rQwait goes back only where it waits, and never before the beginning', () => {
        const { sock } = filled([1, 2, 3]);
        equal(sock.rQwait('three', 3), false);
        equal(sock.rQwait('four', 4), true);
        sock.rQshift16();
        equal(sock.rQwait('one', 1, 2), false);
        equal(sock.rQi, 2);
        throws(() => sock.rQwait('the body', 2, 3), 'Error', /the body.+cannot go back 3 bytes of 2/);
        equal(sock.rQi, 2);
        equal(sock.rQwait('two', 2, 2), true);
        equal(sock.rQi, 0);
    });

    test('an empty message brings no event', () => {
        const { sock, peer } = opened(Websock);
        let events = 0;
        sock.on('message', () => {
            events += 1;
        });
        peer.deliver([]);
        equal(events, 0);
        peer.deliver([1]);
        equal(events, 1);
    });

    test('a handler that throws costs no byte', () => {
        const { sock, peer } = opened(Websock);
        sock.on('message', () => {
            sock.rQshift8();
            throw new Error('from the handler');
        });
        peer.stream(Uint8Array.of(1, 2, 3, 4, 5, 6), () => 2);
        same(peer.thrown.map(({ message }) => message), Array(3).fill('from the handler'));
        bytesEqual(sock.rQshiftBytes(), [4, 5, 6]);
    });

    test('bytes that arrive while a handler reads come after its own', () => {
        const { sock, peer } = opened(Websock);
        const read = [];
        sock.on('message', () => {
            read.push(sock.rQshift8());
            if (read.length === 1) {
                peer.deliver(pattern(100000));
                sock.rQskipBytes(100000 - 1);
            }
        });
        peer.deliver([1, 2]);
        bytesEqual(read, [1, 2]);
        bytesEqual(sock.rQshiftBytes(), pattern(100000).slice(-1));
    });

    test('any order of arrivals and reads loses, doubles and moves no byte', () => {
        const { sock, peer } = opened(Websock, { maxReceive: 300000 });
        const random = seeded(7);
        const below = (limit) => Math.floor(random() * limit);
        const stream = pattern(2000000);
        let sent = 0;
        let read = 0;
        for (let step = 0; step < 20000; step += 1) {
            const unread = sent - read;
            if (random() < 0.5) {
                const length = Math.min(below(random() < 0.02 ? 50000 : 150), 300000 - unread);
                peer.deliver(stream.subarray(sent, sent + length));
                sent = Math.min(sent + length, stream.length);
            } else {
                const count = below(Math.min(unread, random() < 0.02 ? 60000 : 150) + 1);
                bytesEqual(sock.rQshiftBytes(count), stream.subarray(read, read + count));
                read += count;
            }
            equal(sock.rQlen(), sent - read);
        }
        bytesEqual(sock.rQshiftBytes(), stream.subarray(read, sent));
        equal(sent, stream.length);
        equal(peer.closes.length, 0);
    });

    test('growing copies each byte a bounded number of times', () => {
        const { sock, peer } = opened(Websock);
        const piece = pattern(1000);
        const copied = countCopies(() => {
            for (let count = 0; count < 16000; count += 1) {
                peer.deliver(piece);
            }
        });
        equal(sock.rQlen(), 16e6);
        ok(copied < 3 * 16e6, `${copied} bytes copied for 16000000`);
    });

    test('a backlog is not copied at each message, not even at the limit', () => {
        for (const [backlog, maxReceive] of [[1040000, 64e6], [99000, 100000]]) {
            const { sock, peer } = opened(Websock, { maxReceive });
            const piece = pattern(1000);
            for (let count = 0; count < backlog; count += piece.length) {
                peer.deliver(piece);
            }
            const copied = countCopies(() => {
                for (let count = 0; count < 16000; count += 1) {
                    peer.deliver(piece);
                    sock.rQskipBytes(piece.length);
                }
            });
            equal(sock.rQlen(), backlog);
            bytesEqual(sock.rQslice(-1000), piece);
            ok(copied < 3 * 16e6, `${copied} bytes copied for 16000000 with ${backlog} waiting`);
        }
    });

    test('a queue that is read to its end keeps its buffer small', () => {
        const { sock, peer } = opened(Websock);
        const piece = pattern(1000);
        for (let count = 0; count < 1000; count += 1) {
            peer.deliver(piece);
            sock.rQshiftBytes();
        }
        equal(sock.rQ.buffer.byteLength, 64 * 1024);
    });

    test('the buffer never exceeds twice the limit', () => {
        for (const maxReceive of [10, 1000, 100000]) {
            const { sock, peer } = opened(Websock, { maxReceive });
            const piece = pattern(maxReceive / 10);
            for (let count = 0; count < 100; count += 1) {
                peer.deliver(piece);
                if (sock.rQlen() > 0.8 * maxReceive) {
                    sock.rQskipBytes(piece.length);
                }
            }
            peer.deliver(pattern(maxReceive - sock.rQlen()));
            equal(sock.rQlen(), maxReceive);
            ok(sock.rQ.buffer.byteLength <= 2 * maxReceive, `${sock.rQ.buffer.byteLength} bytes for ${maxReceive}`);
            equal(peer.closes.length, 0);
        }
    });

    test('one byte over the limit closes with 4009; what was there stays readable', () => {
        const { sock, peer } = opened(Websock, { maxReceive: 10 });
        const events = [];
        sock.on('message', () => events.push('message'));
        sock.on('error', (error) => events.push(error.message));
        peer.deliver(pattern(10));
        peer.deliver([0]);
        peer.deliver([0]);
        same(events, ['message', 'Websock: more than 10 bytes unread']);
        same(peer.closes, [{ code: 4009, reason: 'more than 10 bytes unread' }]);
        equal(sock.readyState, 'closing');
        bytesEqual(sock.rQshiftBytes(), pattern(10));
    });
}
