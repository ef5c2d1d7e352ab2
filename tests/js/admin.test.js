/** What the page of the admin side makes of numbers, and which sessions a filter finds: `node --test admin.test.js`. */

import { deepEqual, equal } from 'node:assert/strict';
import { test } from 'node:test';

import { matches } from '../../wsproxy/admin/page/table.js';
import { age, rate, size, trip } from '../../wsproxy/admin/page/units.js';

test('sizes have three digits, in steps of a thousand', () => {
    const sizes = [0, 999, 999.6, 1000, 1234567, 1e12, 1e21];
    deepEqual(sizes.map(size), ['0 B', '999 B', '1 kB', '1 kB', '1.23 MB', '1 TB', '1000000 PB']);
    equal(rate(1500), '1.5 kB/s');
});

test('ages have the two largest units', () => {
    deepEqual([0.9, 61, 3600, 90061].map(age), ['0 s', '1 min 1 s', '1 h 0 min', '1 d 1 h']);
});

test('a round trip that is not known is told from one of no time', () => {
    deepEqual([null, 0, 0.0123456].map(trip), ['–', '0 ms', '12.3 ms']);
});

test('a filter finds sessions that have all of its words, wherever', () => {
    const session = { id: '12ab', client: '192.0.2.7:1', peer: '192.0.2.7:1', identity: 'Alice', target: 'h:5900' };
    equal(matches(session, ['alice', '5900']), true);
    equal(matches(session, ['alice', '5901']), false);
    equal(matches({ ...session, identity: null }, ['alice']), false);
    equal(matches(session, []), true);
});
