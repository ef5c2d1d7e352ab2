/** Runs the suite under node: `node --test websock.test.js`. */

import { test } from 'node:test';

import Default, { Websock } from '../../wsproxy/static/websock.js';
import { equal } from './assert.js';
import { suite } from './suite.js';

test('the class is the default export and a named one', () => equal(Default, Websock));

suite({ test, Websock });
