/**
 * Why there is no connection, or none any longer: in words, and whether another attempt may fare better.
 *
 *     CloseEvent ─► endingOf() ─► { text, isLasting }
 *     failed open ─► askReason(url) ─ GET of the same URL ─► { status, reason } ─► { text, isLasting }
 *
 * A browser gives a script neither status nor reason of an open that failed. So the page asks the proxy, which puts
 * the same questions as for an upgrade, and answers with what it would have refused it for.
 *
 * @module
 */

const TYPE = 'application/wsproxy-refusal+json';

/** Milliseconds that an answer may take: the proxy's own questions have their limits, too. */
const PATIENCE = 10000;

/** Codes that say no more than that it was meant: normal, and none (RFC 6455 section 7.4.1). */
const CLEAN = new Set([1000, 1005]);
const ABNORMAL = 1006;

/** What the proxy says of targets that no second attempt will reach, before somebody has put something right. */
const LASTING_REASONS = [/^Target name not found/, /^Target misconfigured/, /^Target TLS: /];

/** Client errors that time alone may cure: timeout, too early, too many requests. */
const PASSING_STATUSES = new Set([408, 425, 429]);

const SWITCHING_PROTOCOLS = 101;

/** Whether a code says that it was the end, and no failure. */
export function isClean(code) {
    return CLEAN.has(code);
}

/**
 * @param {{code: number, reason: string}} event of the close
 * @param {boolean} wasOpen whether the connection had been one
 * @returns {{text: string, isLasting: boolean}}
 */
export function endingOf({ code, reason }, wasOpen) {
    if (reason) {
        const isLasting = LASTING_REASONS.some((pattern) => pattern.test(reason));
        return { text: `Closed: ${sentence(reason)}`, isLasting };
    }
    if (code !== ABNORMAL) {
        return { text: isClean(code) ? 'Closed.' : `Closed: code ${code}.`, isLasting: false };
    }
    return wasOpen
        ? { text: 'Connection lost: the server, or the way to it, is gone.', isLasting: false }
        : { text: 'No connection: the server is not there, or refuses this page.', isLasting: false };
}

/**
 * Ask the proxy why it did not open a WebSocket.
 *
 * @param {URL} url of the WebSocket, of the page's own server: the policy of the pages lets them ask no other.
 * @param {function} [get] in place of the browser's fetch
 * @returns {Promise<{text: string, isLasting: boolean}>}
 */
export async function askReason(url, get = globalThis.fetch.bind(globalThis)) {
    const page = new URL(url);
    page.protocol = page.protocol === 'wss:' ? 'https:' : 'http:';
    let answer;
    try {
        answer = await get(page.href, {
            headers: { Accept: TYPE },
            cache: 'no-store',
            redirect: 'manual',
            // A GET of the same origin has no Origin, so the Referer says where it comes from; never with its query.
            referrerPolicy: 'origin',
            signal: AbortSignal.timeout(PATIENCE),
        });
        if (answer.headers.get('content-type')?.startsWith(TYPE)) {
            return explain(await answer.json());
        }
    } catch {
        return { text: 'No connection: the proxy is not there.', isLasting: false };
    }
    return guess(answer);
}

function explain({ status, reason }) {
    if (status === SWITCHING_PROTOCOLS) {
        return {
            text: 'No connection, though the proxy would accept it: something in between may not let WebSockets pass.',
            isLasting: false,
        };
    }
    return { text: `Refused: ${sentence(reason)} (${status})`, isLasting: isLastingStatus(status) };
}

function sentence(text) {
    return text.endsWith('.') ? text : `${text}.`;
}

/** What an answer means that is not the proxy's: a server in front of it speaks. */
function guess({ type, status }) {
    if (type === 'opaqueredirect') {
        const text = 'No connection: the server sends elsewhere, perhaps to log in. Load the page again.';
        return { text, isLasting: true };
    }
    return status < 400
        ? { text: 'No connection: this server does not accept WebSockets here.', isLasting: true }
        : { text: `No connection: the server answers with status ${status}.`, isLasting: isLastingStatus(status) };
}

function isLastingStatus(status) {
    return status >= 400 && status < 500 && !PASSING_STATUSES.has(status);
}
