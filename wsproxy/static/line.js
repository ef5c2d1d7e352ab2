/**
 * A line as it is typed, for servers that leave echo and editing to the terminal (RFC 857).
 *
 * @module
 */

const ERASE = '\b \b';

/* eslint-disable no-control-regex */
/** A key that is more than one character, such as an arrow, or a character. */
const KEYS = /\x1b(?:\[[0-9;]*[@-~]|O[@-~]|.)?|./gsu;
/* eslint-enable no-control-regex */

export class LocalLine {
    constructor() {
        this._line = '';
    }

    /**
     * @param {string} text what the terminal reports as typed
     * @returns {{echo: string, lines: string[]}} what to show, and the lines that are complete now.
     */
    type(text) {
        const lines = [];
        let echo = '';
        for (const [key] of text.matchAll(KEYS)) {
            if (key === '\r' || key === '\n') {
                lines.push(this._line);
                this._line = '';
                echo += '\r\n';
            } else if (key === '\x7f' || key === '\b') {
                const characters = [...this._line];
                echo += characters.length > 0 ? ERASE : '';
                this._line = characters.slice(0, -1).join('');
            } else if (key === '\x15') {
                echo += ERASE.repeat([...this._line].length);
                this._line = '';
            } else if (key >= ' ') {
                this._line += key;
                echo += key;
            }
        }
        return { echo, lines };
    }
}
