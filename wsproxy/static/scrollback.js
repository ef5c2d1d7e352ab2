/**
 * An element that shows the end of a log. However much comes in, it is laid out once a frame, and holds so many items.
 *
 * Asking where it is scrolled to makes a browser lay it out: asked after each of 5,000 lines, that took 5.8 s.
 *
 * @module
 */

/** Pixels from the end that count as there: then it follows what comes. */
const NEAR = 40;

export class Scrollback {
    /**
     * @param {Element} element scrolls
     * @param {function(*): Node} draw makes the one node that shows an item
     * @param {number} limit of items
     */
    constructor(element, draw, limit) {
        this._element = element;
        this._draw = draw;
        this._limit = limit;
        this._waiting = [];
        this._isScheduled = false;
    }

    append(item) {
        this._waiting.push(item);
        if (this._waiting.length >= 2 * this._limit) {
            this._waiting = this._waiting.slice(-this._limit); // no frames come while the page is hidden
        }
        if (!this._isScheduled) {
            this._isScheduled = true;
            requestAnimationFrame(() => this._catchUp());
        }
    }

    /** Show these alone, at their end. */
    replace(items) {
        this._waiting = [];
        this._element.replaceChildren(...items.slice(-this._limit).map(this._draw));
        this._element.scrollTop = this._element.scrollHeight;
    }

    _catchUp() {
        this._isScheduled = false;
        const fresh = this._waiting.slice(-this._limit);
        this._waiting = [];
        const { scrollHeight, scrollTop, clientHeight, childNodes } = this._element;
        const isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR;
        const surplus = Math.max(0, childNodes.length + fresh.length - this._limit);
        [...childNodes].slice(0, surplus).forEach((node) => node.remove());
        this._element.append(...fresh.map(this._draw));
        if (isAtEnd) {
            this._element.scrollTop = this._element.scrollHeight;
        }
    }
}
