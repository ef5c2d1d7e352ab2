/** The few assertions the suites need, for they run in browsers too. */

export function ok(value, message) {
    if (!value) {
        throw new Error(message);
    }
}

export function equal(actual, expected, what = 'value') {
    ok(Object.is(actual, expected), `${what}: ${String(actual)}, expected ${String(expected)}`);
}

/** Compares bytes (arrays or typed arrays) and says where they part. */
export function bytesEqual(actual, expected) {
    equal(actual.length, expected.length, 'number of bytes');
    for (let at = 0; at < expected.length; at += 1) {
        if (actual[at] !== expected[at]) {
            equal(actual[at], expected[at], `byte ${at}`);
        }
    }
}

/** Compares plain values by their JSON. */
export function same(actual, expected) {
    equal(JSON.stringify(actual), JSON.stringify(expected));
}

export function throws(call, name, pattern = /^/) {
    let error = null;
    try {
        call();
    } catch (thrown) {
        error = thrown;
    }
    ok(error !== null, `expected ${name}, nothing was thrown`);
    equal(error.name, name, `error "${error.message}"`);
    ok(pattern.test(error.message), `"${error.message}" does not match ${pattern}`);
}
