/** reason.js and greeting.js under node: `node --test reason.test.js`. */

import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { test } from 'node:test';

import { describeGreeting, isRFB } from '../../wsproxy/static/greeting.js';
import { askReason, endingOf } from '../../wsproxy/static/reason.js';

const TYPE = 'application/wsproxy-refusal+json';
const URL_OF = new URL('ws://a.example:6080/console?token=x');

/** A fetch that answers like this, and notes what it was asked. */
function answering(body, { status = 200, type = TYPE } = {}) {
    const asked = [];
    const get = async (url, options) => {
        asked.push([url, options]);
        return new Response(typeof body === 'string' ? body : JSON.stringify(body), {
            status, headers: { 'Content-Type': type },
        });
    };
    return { get, asked };
}

async function explained(...args) {
    return askReason(URL_OF, answering(...args).get);
}

test('the proxy is asked at the URL of the WebSocket, and learns where from, but not the page\'s query', async () => {
    const { get, asked } = answering({ status: 403, reason: 'Origin not allowed' });
    await askReason(URL_OF, get);
    await askReason(new URL('wss://a.example/'), get);
    deepEqual(asked.map(([url]) => url), ['http://a.example:6080/console?token=x', 'https://a.example/']);
    const [[, { headers, referrerPolicy, redirect }]] = asked;
    deepEqual([headers, referrerPolicy, redirect], [{ Accept: TYPE }, 'origin', 'manual']);
});

test('what it would have refused is told as it says it', async () => {
    deepEqual(await explained({ status: 403, reason: 'Origin not allowed' }), {
        text: 'Refused: Origin not allowed. (403)', isLasting: true,
    });
    for (const status of [400, 401, 403, 404, 405, 426]) {
        equal((await explained({ status, reason: 'x' })).isLasting, true, status);
    }
    for (const status of [408, 429, 500, 502, 503]) {
        equal((await explained({ status, reason: 'x' })).isLasting, false, status);
    }
});

test('where it would have let the page in, something in between did not', async () => {
    const { text, isLasting } = await explained({ status: 101, reason: '' });
    match(text, /in between/);
    equal(isLasting, false);
});

test('another server\'s answer is told by its status', async () => {
    const text = (status) => explained('<h1>', { status, type: 'text/html' });
    deepEqual(await text(502), { text: 'No connection: the server answers with status 502.', isLasting: false });
    equal((await text(404)).isLasting, true);
    deepEqual(await text(200), {
        text: 'No connection: this server does not accept WebSockets here.', isLasting: true,
    });
    match((await askReason(URL_OF, async () => ({ type: 'opaqueredirect', status: 0, headers: new Headers() }))).text,
        /log in/);
});

test('nobody there, or nonsense, is no reason to give up', async () => {
    const gone = async () => {
        throw new TypeError('fetch failed');
    };
    for (const { text, isLasting } of [await askReason(URL_OF, gone), await explained('no JSON')]) {
        deepEqual([text, isLasting], ['No connection: the proxy is not there.', false]);
    }
});

test('a close reason is told, and tells whether another attempt may fare better', () => {
    const closed = (reason) => endingOf({ code: 1011, reason }, true);
    deepEqual(closed('Target refused the connection'), {
        text: 'Closed: Target refused the connection.', isLasting: false,
    });
    equal(closed('Enough.').text, 'Closed: Enough.');
    for (const reason of ['Target timed out', 'Target unreachable']) {
        equal(closed(reason).isLasting, false, reason);
    }
    for (const reason of ['Target name not found', 'Target misconfigured', 'Target TLS: certificate has expired']) {
        equal(closed(reason).isLasting, true, reason);
    }
});

test('without a reason the end is told by its code', () => {
    const text = (code, wasOpen) => endingOf({ code, reason: '' }, wasOpen).text;
    deepEqual([text(1000, true), text(1005, true)], ['Closed.', 'Closed.']);
    equal(text(1011, true), 'Closed: code 1011.');
    match(text(1006, true), /^Connection lost/);
    match(text(1006, false), /^No connection/);
});

test('a server of another protocol is known by its first words', () => {
    const latin1 = (text) => Uint8Array.from(text, (char) => char.charCodeAt(0));
    const greetings = {
        'RFB 003.008\n': 'a VNC server: "RFB 003.008"',
        'SSH-2.0-OpenSSH_9.2\r\n': 'an SSH server: "SSH-2.0-OpenSSH_9.2"',
        'HTTP/1.1 400 Bad Request\r\n': 'a web server: "HTTP/1.1 400 Bad Request"',
        ':irc.example NOTICE * :hi\r\n': 'an IRC server: ":irc.example NOTICE * :hi"',
        '220 mail.example\r\n': 'a mail or FTP server: "220 mail.example"',
        '\xff\xfd\x18': 'a telnet server.',
        '\x15\x03\x03\x00': 'a TLS server.',
        'Hello!\n': 'another one: "Hello!"',
        '\0\0\0\0': 'another one.',
    };
    for (const [greeting, kind] of Object.entries(greetings)) {
        equal(describeGreeting(latin1(greeting)), `It seems to be ${kind}`);
        equal(isRFB(latin1(greeting)), greeting.startsWith('RFB'));
    }
    ok(describeGreeting(latin1('x'.repeat(1000))).length < 100);
});
