/**
 * Where a page connects: what its own address asks for, and the WebSocket URL of that.
 *
 * The parameters are `host`, `port`, `path` and `encrypt`; without them it is the proxy that served the page, at the
 * page's own folder, so that it works behind a proxy that adds a prefix. That one is told the page's own `token`, too.
 *
 * @module
 */

const YES = new Set(['', '1', 'true', 'yes', 'on']);

/**
 * @param {URL|Location} page
 * @returns {{host: string, port: string, path: string, encrypt: boolean}} the port may be empty: the scheme's own.
 */
export function addressOf(page) {
    const wanted = new URL(page.href).searchParams;
    const isOwn = !wanted.has('host') && !wanted.has('port');
    const encrypt = wanted.get('encrypt');
    return {
        host: wanted.get('host') || page.hostname.replace(/^\[(.*)\]$/, '$1'),
        port: wanted.get('port') ?? (wanted.has('host') ? '' : page.port),
        path: isOwn
            ? withToken(wanted.get('path') ?? new URL('./', page.href).pathname, wanted.get('token'))
            : wanted.get('path') ?? '/',
        encrypt: encrypt === null ? page.protocol === 'https:' : YES.has(encrypt.toLowerCase()),
    };
}

/** A path that has a token already keeps that. */
function withToken(path, token) {
    const query = path.includes('?') ? path.slice(path.indexOf('?') + 1) : null;
    if (!token || new URLSearchParams(query ?? '').has('token')) {
        return path;
    }
    return `${path}${query === null ? '?' : '&'}token=${encodeURIComponent(token)}`;
}

/**
 * @param {{host: string, port: string, path: string, encrypt: boolean}} address the path may have a query
 * @returns {URL} ws: or wss:; nothing in the path changes the host.
 * @throws {TypeError} where the host or the port is none.
 */
export function socketURL({ host, port, path, encrypt }) {
    const literal = host.includes(':') ? `[${host.replace(/^\[(.*)\]$/, '$1')}]` : host;
    if (!/^[^\s/\\?#@]+$/.test(literal) || !/^\d*$/.test(port)) {
        throw new TypeError(`not a host and a port: ${host} ${port}`);
    }
    const url = new URL(`${encrypt ? 'wss' : 'ws'}://${literal}${port && `:${port}`}/`);
    const [, pathname, query] = /^\/?([^?#]*)(\?[^#]*)?/.exec(path);
    url.pathname = `/${pathname}`;
    url.search = query ?? '';
    return url;
}

/**
 * Whether a page may connect there unasked. A link to a page must not make it talk to somebody else's server.
 *
 * @param {URL} url
 * @param {URL|Location} page
 */
export function isOwn(url, page) {
    return url.host === page.host && (url.protocol === 'wss:') === (page.protocol === 'https:');
}
