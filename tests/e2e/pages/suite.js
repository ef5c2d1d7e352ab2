// The suite of websock.js, as the proxy itself serves that, in a browser; then the part about streams once more over
// the browser's own WebSocket, to where the page came from, which has to echo. Whoever drives the page waits for `result`: the names of the tests that
// `passed`, and `failed`, each a name and why.

import { Websock } from '/wsproxy/websock.js';
import { streamSuite } from '../../js/stream.js';
import { suite } from '../../js/suite.js';

const LIMIT = 15_000; // for all tests together, so that one that never ends is named, and so are those after it

const tests = [];
const test = (name, run) => tests.push({ name, run });

suite({ test, Websock });
for (const protocol of ['binary', 'base64']) {
    streamSuite({
        test: (name, run) => test(`proxy, ${protocol}: ${name}`, run),
        Websock,
        url: `ws://${location.host}/`,
        protocols: [protocol],
    });
}

const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`not done after ${LIMIT} ms`)), LIMIT);
});
const passed = [];
const failed = [];
for (const { name, run } of tests) {
    try {
        await Promise.race([run(), late]);
        passed.push(name);
    } catch (error) {
        failed.push(`${name}: ${error}`);
    }
}
window.result = { passed, failed };
