/**
 * What a byte stream promises, against anything that echoes: a fake, or a real proxy whose target echoes.
 *
 * `test(name, run)` registers a test; `WebSocket` and `url` say where the echo is; `protocols` what is offered.
 */

import { bytesEqual, equal } from './assert.js';
import { pattern } from './fake.js';

export function streamSuite({ test, Websock, WebSocket, url, protocols }) {
    function connect() {
        const sock = new Websock({ WebSocket });
        sock.open(url, protocols);
        return sock;
    }

    /** Resolves at the next `event`, rejects if the connection ends first. */
    function happens(sock, event) {
        return new Promise((resolve, reject) => {
            sock.on('close', ({ code, reason }) => reject(new Error(`closed: ${code} ${reason}`)));
            sock.on(event, resolve);
        });
    }

    async function unread(sock, count) {
        while (sock.rQwait('the echo', count)) {
            await happens(sock, 'message');
        }
    }

    /** A record, two bytes of length and as many as they say, or null while it is incomplete. */
    function shiftRecord(sock) {
        if (sock.rQwait('length', 2)) {
            return null;
        }
        const length = sock.rQshift16();
        return sock.rQwait('body', length, 2) ? null : sock.rQshiftBytes(length);
    }

    async function end(sock) {
        const closed = happens(sock, 'close');
        sock.close();
        await closed;
        equal(sock.readyState, 'closed');
    }

    test('bytes of every value come back one by one', async () => {
        const sock = connect();
        await happens(sock, 'open');
        const bytes = Uint8Array.from({ length: 256 }, (_, value) => value);
        sock.send(bytes);
        await unread(sock, bytes.length);
        for (const byte of bytes) {
            equal(sock.rQpeek8(), byte);
            equal(sock.rQshift8(), byte);
        }
        equal(sock.rQlen(), 0);
        await end(sock);
    });

    test('what is sent while connecting arrives first and in order', async () => {
        const sock = connect();
        sock.send([1, 2]);
        sock.sendString('\x03');
        sock.on('open', () => sock.send([4]));
        await unread(sock, 4);
        bytesEqual(sock.rQshiftBytes(), [1, 2, 3, 4]);
        await end(sock);
    });

    test('a megabyte and a byte come back whole', async () => {
        const sock = connect();
        await happens(sock, 'open');
        const bytes = pattern(1024 * 1024 + 1);
        sock.send(bytes);
        await unread(sock, bytes.length);
        bytesEqual(sock.rQshiftBytes(), bytes);
        await end(sock);
    });

    test('a buffer may be reused as soon as send() returns', async () => {
        const sock = connect();
        const buffer = new Uint8Array(3);
        sock.send(buffer.fill(1));
        await happens(sock, 'open');
        sock.send(buffer.fill(2));
        sock.queue(buffer.fill(3));
        buffer.fill(4);
        sock.flush();
        await unread(sock, 9);
        bytesEqual(sock.rQshiftBytes(), [1, 1, 1, 2, 2, 2, 3, 3, 3]);
        await end(sock);
    });

    test('records are read whole by going back, wherever they were cut', async () => {
        const sock = connect();
        const records = Array.from({ length: 400 }, (_, index) => pattern((index * 37) % 300, index + 1));
        const read = [];
        for (const record of records) {
            sock.queue([record.length >> 8, record.length & 255]);
            sock.send(record);
        }
        while (read.length < records.length) {
            const record = shiftRecord(sock);
            if (record === null) {
                await happens(sock, 'message');
            } else {
                read.push(record);
            }
        }
        records.forEach((record, index) => bytesEqual(read[index], record));
        await end(sock);
    });

    test('every way of reading takes up where the last one ended', async () => {
        const sock = connect();
        sock.send([1, 0xfe, 0xdc, 0xff, 0xfe, 0xfd, 0xfc]);
        sock.send_string('h\xe9llo');
        sock.send(new Uint16Array([0x0707]));
        sock.send(new Uint8Array([8, 9, 10]).buffer);
        await unread(sock, 17);
        equal(sock.rQpop8(), 1);
        equal(sock.rQshift16(), 0xfedc);
        equal(sock.rQshift32(), 0xfffefdfc);
        equal(sock.rQshiftStr(5), 'h\xe9llo');
        bytesEqual(sock.rQslice(0, 2), [7, 7]);
        sock.rQskipBytes(2);
        const target = new Uint8Array(2);
        sock.rQshiftTo(target, 2);
        bytesEqual(target, [8, 9]);
        equal(sock.rQshiftStr(), '\n');
        await end(sock);
    });
}
