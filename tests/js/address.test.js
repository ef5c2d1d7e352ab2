/** address.js under node: `node --test address.test.js`. */

import { deepEqual, equal, throws } from 'node:assert/strict';
import { test } from 'node:test';

import { addressOf, isOwn, socketURL } from '../../wsproxy/static/address.js';

const urlOf = (page) => socketURL(addressOf(new URL(page))).href;

test('without parameters it is the server of the page, at the folder of the page', () => {
    equal(urlOf('http://a.example:6080/'), 'ws://a.example:6080/');
    equal(urlOf('https://a.example/wsproxy/wstelnet.html'), 'wss://a.example/wsproxy/');
    equal(urlOf('http://[::1]:6080/index.html'), 'ws://[::1]:6080/');
});

test('host, port, path and encrypt each say otherwise', () => {
    const page = 'https://a.example:6080/wsproxy/wsirc.html';
    equal(urlOf(`${page}?host=b.example`), 'wss://b.example/');
    equal(urlOf(`${page}?port=99`), 'wss://a.example:99/');
    equal(urlOf(`${page}?host=b.example&port=80&encrypt=0&path=a/b`), 'ws://b.example/a/b');
    equal(urlOf(`${page}?host=::1&port=99`), 'wss://[::1]:99/');
    equal(urlOf(`${page}?path=%3Ftoken%3Dx%26y%3Dz`), 'wss://a.example:6080/?token=x&y=z');
    equal(urlOf(`${page}?path=/console%3Ftoken%3Dx`), 'wss://a.example:6080/console?token=x');
});

test('the token of the page goes to its own server, unless the path has one', () => {
    const page = 'https://a.example/wsproxy/wsvnc.html';
    equal(urlOf(`${page}?token=a.b-c_d`), 'wss://a.example/wsproxy/?token=a.b-c_d');
    equal(urlOf(`${page}?token=a%26b&path=x`), 'wss://a.example/x?token=a%26b');
    equal(urlOf(`${page}?token=a&path=x%3Fy%3Dz`), 'wss://a.example/x?y=z&token=a');
    equal(urlOf(`${page}?token=a&path=x%3Ftoken%3Dz`), 'wss://a.example/x?token=z');
    equal(urlOf(`${page}?token=&path=x`), 'wss://a.example/x');
    equal(urlOf(`${page}?token=a&host=b.example`), 'wss://b.example/');
    equal(urlOf(`${page}?token=a&port=81`), 'wss://a.example:81/');
});

test('encrypt is on for 1, true, yes, on, in any case, and without a value; off for the rest', () => {
    const schemes = { 1: 'wss:', True: 'wss:', '': 'wss:', 0: 'ws:', false: 'ws:', no: 'ws:' };
    for (const [value, scheme] of Object.entries(schemes)) {
        equal(new URL(urlOf(`http://a.example/?encrypt=${value}`)).protocol, scheme, value);
    }
});

test('nothing in a path changes the host', () => {
    const paths = ['//e.example', '\\\\e.example', '@e.example/', 'http://e.example/', '../../..', '#x', ''];
    for (const path of paths) {
        equal(socketURL({ host: 'a.example', port: '', path, encrypt: false }).host, 'a.example', path);
    }
});

test('what is no host or no port is refused', () => {
    const hosts = ['', 'a/b', 'a b', 'u@h', 'a?'].map((host) => [host, '']);
    const ports = ['x', '99999', '-1'].map((port) => ['a', port]);
    for (const [host, port] of [...hosts, ...ports]) {
        throws(() => socketURL({ host, port, path: '/', encrypt: false }), TypeError, `${host} ${port}`);
    }
});

test('only the same host, port and encryption are the own server', () => {
    const own = (page, url) => isOwn(new URL(url), new URL(page));
    deepEqual([
        own('http://a.example:6080/', 'ws://a.example:6080/any?token=x'),
        own('https://a.example/', 'wss://a.example/'),
        own('http://a.example/', 'wss://a.example/'),
        own('http://a.example/', 'ws://a.example:81/'),
        own('http://a.example/', 'ws://b.example/'),
    ], [true, true, false, false, false]);
});
