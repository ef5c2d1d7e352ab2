/**
 * Characters whole. What lies beyond U+FFFF is two units of UTF-16, and Firefox reports a key that makes such a
 * character as two key presses, of half a character each; neither half is a character to an encoder or a keysym.
 *
 * @module
 */

const CUT_OFF = /[\ud800-\udbff]$/;

export class Surrogates {
    constructor() {
        this._first = '';
    }

    /**
     * @param {string} text as it was typed; its first or last unit may be half of a character
     * @returns {string} all characters that are complete now. A first half waits for its second; a half that meets
     *     none becomes U+FFFD.
     */
    join(text) {
        const joined = this._first + text;
        const isCutOff = CUT_OFF.test(joined);
        this._first = isCutOff ? joined.slice(-1) : '';
        return (isCutOff ? joined.slice(0, -1) : joined).replace(/\p{Surrogate}/gu, '\ufffd');
    }
}
