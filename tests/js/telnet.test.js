/** telnet.js, line.js and surrogates.js under node: `node --test telnet.test.js`. */

import { deepEqual, equal, ok } from 'node:assert/strict';
import { test } from 'node:test';

import { LocalLine } from '../../wsproxy/static/line.js';
import { Surrogates } from '../../wsproxy/static/surrogates.js';
import { Telnet } from '../../wsproxy/static/telnet.js';
import { pattern, seeded } from './fake.js';

const [SE, NOP, GA, SB, WILL, WONT, DO, DONT, IAC] = [240, 241, 249, 250, 251, 252, 253, 254, 255];
const [BINARY, ECHO, SGA, TTYPE, NAWS, LINEMODE, NEW_ENVIRON] = [0, 1, 3, 24, 31, 34, 39];
const CR = 13;
const LF = 10;

const bytes = (text) => [...new TextEncoder().encode(text)];
const text = (data) => new TextDecoder().decode(data);

/** A telnet that has been spoken to and has made its offer. */
function spoken(options) {
    const telnet = new Telnet(options);
    deepEqual(reply(telnet, IAC, DONT, LINEMODE), [IAC, WILL, BINARY]);
    return telnet;
}

function reply(telnet, ...received) {
    return [...telnet.receive(Uint8Array.from(received)).reply];
}

function data(telnet, ...received) {
    return [...telnet.receive(Uint8Array.from(received)).data];
}

test('text passes, and nothing is said to a server that has not shown that it speaks telnet', () => {
    const telnet = new Telnet();
    deepEqual(data(telnet, ...bytes('SSH-2.0 grüße\r\n')), bytes('SSH-2.0 grüße\r\n'));
    deepEqual(reply(telnet, ...bytes('more')), []);
    deepEqual([...telnet.resize(100, 30)], []);
});

test('the first option brings our offer of BINARY, once', () => {
    const telnet = new Telnet();
    deepEqual(reply(telnet, IAC, WILL, SGA), [IAC, DO, SGA, IAC, WILL, BINARY]);
    deepEqual(reply(telnet, IAC, WILL, ECHO), [IAC, DO, ECHO]);
});

test('what the server does: ECHO, SUPPRESS-GO-AHEAD and BINARY are agreed to, the rest is refused', () => {
    const telnet = spoken();
    for (const option of [ECHO, SGA, BINARY]) {
        deepEqual(reply(telnet, IAC, WILL, option), [IAC, DO, option]);
    }
    deepEqual(reply(telnet, IAC, WILL, NEW_ENVIRON), [IAC, DONT, NEW_ENVIRON]);
    deepEqual(reply(telnet, IAC, WILL, NAWS), [IAC, DONT, NAWS]);
});

test('what we do: SUPPRESS-GO-AHEAD, TERMINAL-TYPE and NAWS are agreed to, the rest is refused', () => {
    const telnet = spoken({ columns: 80, rows: 24 });
    deepEqual(reply(telnet, IAC, DO, SGA), [IAC, WILL, SGA]);
    deepEqual(reply(telnet, IAC, DO, TTYPE), [IAC, WILL, TTYPE]);
    deepEqual(reply(telnet, IAC, DO, NAWS), [IAC, WILL, NAWS, IAC, SB, NAWS, 0, 80, 0, 24, IAC, SE]);
    deepEqual(reply(telnet, IAC, DO, ECHO), [IAC, WONT, ECHO]);
    deepEqual(reply(telnet, IAC, DO, NEW_ENVIRON), [IAC, WONT, NEW_ENVIRON]);
});

test('a state that is asked for again, or was refused already, is not answered: no loop', () => {
    const telnet = spoken();
    reply(telnet, IAC, WILL, ECHO, IAC, DO, SGA);
    deepEqual(reply(telnet, IAC, WILL, ECHO, IAC, DO, SGA), []);
    deepEqual(reply(telnet, IAC, WONT, NEW_ENVIRON, IAC, DONT, NEW_ENVIRON), []);
});

test('the answer to our offer is not answered, and may be taken back', () => {
    const telnet = spoken();
    deepEqual(reply(telnet, IAC, DO, BINARY), []);
    deepEqual([...telnet.encode([CR])], [CR]);
    deepEqual(reply(telnet, IAC, DONT, BINARY), [IAC, WONT, BINARY]);
    deepEqual([...telnet.encode([CR])], [CR, 0]);
});

test('a refused offer stays refused until the server asks for it', () => {
    const telnet = spoken();
    deepEqual(reply(telnet, IAC, DONT, BINARY), []);
    deepEqual(reply(telnet, IAC, DO, BINARY), [IAC, WILL, BINARY]);
});

test('echoes tells who echoes', () => {
    const telnet = spoken();
    equal(telnet.echoes, false);
    reply(telnet, IAC, WILL, ECHO);
    equal(telnet.echoes, true);
    deepEqual(reply(telnet, IAC, WONT, ECHO), [IAC, DONT, ECHO]);
    equal(telnet.echoes, false);
});

test('the terminal type is told when it is asked for, and only where that was agreed', () => {
    const telnet = spoken({ terminal: 'vt100' });
    const question = [IAC, SB, TTYPE, 1, IAC, SE];
    deepEqual(reply(telnet, ...question), []);
    reply(telnet, IAC, DO, TTYPE);
    deepEqual(reply(telnet, ...question), [IAC, SB, TTYPE, 0, ...bytes('vt100'), IAC, SE]);
    deepEqual(reply(telnet, IAC, SB, TTYPE, 0, 1, IAC, SE, IAC, SB, NAWS, 1, IAC, SE), []);
});

test('a new size is told where the server wants to know; a 255 in it is doubled', () => {
    const telnet = spoken();
    reply(telnet, IAC, DO, NAWS);
    deepEqual([...telnet.resize(255, 300)], [IAC, SB, NAWS, 0, IAC, IAC, 1, 44, IAC, SE]);
    reply(telnet, IAC, DONT, NAWS);
    deepEqual([...telnet.resize(80, 24)], []);
    deepEqual(reply(telnet, IAC, DO, NAWS).slice(3), [IAC, SB, NAWS, 0, 80, 0, 24, IAC, SE]);
});

test('byte 255 is doubled on the way out, and single again on the way in', () => {
    const telnet = new Telnet();
    deepEqual([...telnet.encode([1, IAC, 2])], [1, IAC, IAC, 2]);
    deepEqual([...telnet.encodeLine([IAC])], [IAC, IAC, CR, LF]);
    deepEqual(data(telnet, 1, IAC, IAC, 2), [1, IAC, 2]);
});

test('the NUL after a CR is dropped, but not where the server sends BINARY', () => {
    const telnet = spoken();
    deepEqual(data(telnet, CR, 0, 65, CR, LF, 0), [CR, 65, CR, LF, 0]);
    reply(telnet, IAC, WILL, BINARY);
    deepEqual(data(telnet, CR, 0), [CR, 0]);
});

test('commands without an option are taken out of the text', () => {
    deepEqual(data(new Telnet(), 65, IAC, NOP, 66, IAC, GA, 67), [65, 66, 67]);
});

test('a subnegotiation that never ends costs nothing, and one that is broken off ends', () => {
    const telnet = spoken();
    reply(telnet, IAC, DO, TTYPE, IAC, SB);
    reply(telnet, ...new Array(100000).fill(IAC), ...pattern(1000).map((byte) => byte & 127));
    ok(telnet._subnegotiation.length <= 64);
    deepEqual(reply(telnet, IAC, WILL, ECHO), [IAC, DO, ECHO]);
    deepEqual(data(telnet, 65), [65]);
});

test('however the bytes are cut, data and replies are the same', () => {
    const random = seeded(7);
    const words = [[IAC, IAC], [CR, 0], [CR, LF], [IAC, SB, TTYPE, 1, IAC, SE], [IAC, SB, 9, IAC, IAC, IAC, SE]];
    for (const verb of [WILL, WONT, DO, DONT]) {
        words.push(...[BINARY, ECHO, SGA, TTYPE, NAWS, NEW_ENVIRON].map((option) => [IAC, verb, option]));
    }
    for (let round = 0; round < 200; round += 1) {
        const stream = [];
        for (let count = 0; count < 40; count += 1) {
            const choice = Math.floor(random() * (words.length + 12));
            stream.push(...(words[choice] ?? pattern(1 + Math.floor(random() * 4), choice + round)));
        }
        const whole = new Telnet().receive(Uint8Array.from(stream));
        const telnet = new Telnet();
        const parts = { data: [], reply: [] };
        for (let at = 0; at < stream.length;) {
            const end = at + 1 + Math.floor(random() * 5);
            const part = telnet.receive(Uint8Array.from(stream.slice(at, end)));
            parts.data.push(...part.data);
            parts.reply.push(...part.reply);
            at = end;
        }
        deepEqual(parts, { data: [...whole.data], reply: [...whole.reply] });
    }
});

test('a line is echoed as it is typed, edited, and handed over at its end', () => {
    const line = new LocalLine();
    deepEqual(line.type('heö'), { echo: 'heö', lines: [] });
    deepEqual(line.type('\x7f'), { echo: '\b \b', lines: [] });
    deepEqual(line.type('\x1b[A\x1bOP\x03'), { echo: '', lines: [] });
    deepEqual(line.type('y\rnext'), { echo: 'y\r\nnext', lines: ['hey'] });
    deepEqual(line.type('\x15\x7f\r'), { echo: '\b \b'.repeat(4) + '\r\n', lines: [''] });
});

test('pasted lines are handed over one by one', () => {
    deepEqual(new LocalLine().type('a\rb\nc').lines, ['a', 'b']);
    equal(text(new Telnet().encodeLine(bytes('a'))), 'a\r\n');
});

test('a character that arrives as two key presses is one, wherever else the text is cut', () => {
    const whole = 'a😀b€😀😀';
    for (let first = 0; first <= whole.length; first += 1) {
        for (let second = first; second <= whole.length; second += 1) {
            const surrogates = new Surrogates();
            const parts = [whole.slice(0, first), whole.slice(first, second), whole.slice(second)];
            const joined = parts.map((part) => surrogates.join(part));
            equal(joined.join(''), whole);
            ok(joined.every((part) => part.isWellFormed()));
        }
    }
});

test('half of a character that meets no other half becomes U+FFFD, and harms nothing else', () => {
    const surrogates = new Surrogates();
    deepEqual(['\ud83d', 'a', '\ude00', '\ud83d', '\ud83d', '\ude00'].map((half) => surrogates.join(half)), [
        '', '\ufffda', '\ufffd', '', '\ufffd', '😀',
    ]);
});
