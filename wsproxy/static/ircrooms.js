/**
 * The rooms of the IRC page: a button and a log for each, of which one log is shown.
 *
 * @module
 */

import { Scrollback } from './scrollback.js';

/** Messages of a room that are kept. */
const MAX_KEPT = 1000;

/** The name of the room that is the server's own. */
export const SERVER = '';

// Made once: a formatter costs more than all else about a line.
const clock = new Intl.DateTimeFormat([], { hour: '2-digit', minute: '2-digit' });

export function element(name, className, text) {
    const made = document.createElement(name);
    made.className = className;
    made.textContent = text;
    return made;
}

function drawMessage({ time, kind, from, text, highlight }) {
    const line = element('p', highlight ? `${kind} highlight` : kind, '');
    line.append(element('time', '', clock.format(time)));
    if (from) {
        line.append(element('b', '', kind === 'action' ? `* ${from} ` : `${from}: `));
    }
    line.append(text);
    return line;
}

export class Rooms {
    /**
     * @param {Element} buttons
     * @param {Element} log
     * @param {function()} shown another room is
     */
    constructor(buttons, log, shown) {
        this._buttons = buttons;
        this._log = new Scrollback(log, drawMessage, MAX_KEPT);
        this._tellShown = shown;
        this._rooms = new Map();
        this.current = SERVER;
    }

    clear() {
        this._rooms.clear();
        this._buttons.replaceChildren();
        this.show(SERVER);
    }

    remove(name) {
        this._rooms.get(name.toLowerCase())?.button.remove();
        this._rooms.delete(name.toLowerCase());
        if (this._isShown(name)) {
            this.show(SERVER);
        }
    }

    show(name) {
        const room = this._add(name);
        this.current = room.name;
        for (const { button } of this._rooms.values()) {
            button.removeAttribute('aria-current');
        }
        room.button.setAttribute('aria-current', 'true');
        room.button.className = '';
        this._log.replace(room.messages);
        this._tellShown();
    }

    append({ room: name, kind, from = '', text, highlight = false }) {
        const room = this._add(name);
        const message = { time: new Date(), kind, from, text, highlight };
        room.messages.push(message);
        if (room.messages.length >= 2 * MAX_KEPT) {
            room.messages = room.messages.slice(-MAX_KEPT);
        }
        if (this._isShown(name)) {
            this._log.append(message);
        } else if (highlight) {
            room.button.className = 'unread called';
        } else if (kind === 'say' || kind === 'action') {
            room.button.classList.add('unread');
        }
    }

    _add(name) {
        const key = name.toLowerCase();
        if (!this._rooms.has(key)) {
            const button = element('button', '', name || 'Server');
            button.type = 'button';
            button.addEventListener('click', () => this.show(name));
            this._buttons.append(button);
            this._rooms.set(key, { name, button, messages: [] });
        }
        return this._rooms.get(key);
    }

    _isShown(name) {
        return this.current.toLowerCase() === name.toLowerCase();
    }
}
