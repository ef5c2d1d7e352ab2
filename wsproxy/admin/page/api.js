/**
 * What the page asks the admin side, and the token it shows for that.
 *
 * The token is in sessionStorage: it ends with the tab, and no browser sends it by itself, as it does with cookies.
 *
 * @module
 */

const KEY = 'wsproxy-admin-token';

/** There is no token, or the wrong one. */
export class Denied extends Error {}

export function keepToken(token) {
    sessionStorage.setItem(KEY, token);
}

/**
 * @param {string} path
 * @param {string} [method]
 * @returns {Promise<any>} the answer
 */
export async function ask(path, method = 'GET') {
    const token = sessionStorage.getItem(KEY);
    const headers = token === null ? {} : { Authorization: `Bearer ${token}` };
    const response = await fetch(path, { method, headers, cache: 'no-store', credentials: 'omit' });
    const answer = await response.json();
    if (response.ok) {
        return answer;
    }
    if (response.status === 401 || response.status === 429) {
        throw new Denied(token === null ? '' : answer.error);
    }
    throw new Error(answer.error);
}
