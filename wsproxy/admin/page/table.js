/**
 * The sessions, a row each. Rows stay what they are while their numbers change, so that who has come to one by keyboard
 * is not thrown off.
 *
 * @module
 */

import { age, rate, size, trip } from './units.js';

const MOST = 500; // rows; a browser needs a second for ten thousand

const COLUMNS = [
    { name: 'Id', key: 'id', show: (it) => it.id.slice(0, 8) },
    { name: 'Client', key: 'client', show: (it) => it.client },
    { name: 'Identity', key: 'identity', show: (it) => it.identity ?? '' },
    { name: 'Target', key: 'target', show: (it) => it.target },
    { name: 'Worker', key: 'worker', show: (it) => it.worker ?? '', kind: 'number' },
    { name: 'Age', key: 'age', show: (it) => age(it.age), kind: 'number' },
    { name: 'Up', key: 'bytes_up', show: (it) => size(it.bytes_up), kind: 'number' },
    { name: 'Down', key: 'bytes_down', show: (it) => size(it.bytes_down), kind: 'number' },
    { name: 'Rate up', key: 'rate_up', show: (it) => rate(it.rate_up), kind: 'number' },
    { name: 'Rate down', key: 'rate_down', show: (it) => rate(it.rate_down), kind: 'number' },
    { name: 'Queued up', key: 'queued_up', show: (it) => size(it.queued_up), kind: 'number queue' },
    { name: 'Queued down', key: 'queued_down', show: (it) => size(it.queued_down), kind: 'number queue' },
    { name: 'Round trip', key: 'round_trip', show: (it) => trip(it.round_trip), kind: 'number' },
];

const SEARCHED = ['id', 'client', 'peer', 'identity', 'target'];

/** @returns {boolean} whether a session has each of these words somewhere */
export function matches(session, words) {
    const text = SEARCHED.map((key) => session[key] ?? '').join('\n').toLowerCase();
    return words.every((word) => text.includes(word));
}

export class Table {
    /**
     * @param {HTMLTableElement} table
     * @param {function(object)} close asked to close a session
     */
    constructor(table, close) {
        this._body = table.tBodies[0];
        this._close = close;
        this._rows = new Map();
        this._sessions = [];
        this._filter = '';
        this._order = { key: 'age', down: true };
        this._heads = COLUMNS.map((column) => this._head(column));
        table.tHead.rows[0].append(...this._heads, document.createElement('td'));
        table.addEventListener('keydown', (event) => this._key(event));
        this._mark();
    }

    /** @param {object[]} sessions as the admin side lists them */
    show(sessions) {
        this._sessions = sessions;
        return this._draw();
    }

    /** @param {string} text words, all of which a row must have */
    filter(text) {
        this._filter = text;
        return this._draw();
    }

    _head(column) {
        const head = document.createElement('th');
        const button = document.createElement('button');
        button.type = 'button';
        button.textContent = column.name;
        button.addEventListener('click', () => {
            this._order = { key: column.key, down: this._order.key === column.key && !this._order.down };
            this._mark();
            this._draw();
        });
        head.scope = 'col';
        head.className = column.kind ?? '';
        head.append(button);
        return head;
    }

    _mark() {
        COLUMNS.forEach(({ key }, index) => {
            const sorted = this._order.down ? 'descending' : 'ascending';
            this._heads[index].ariaSort = key === this._order.key ? sorted : 'none';
        });
    }

    /** @returns {{shown: number, found: number}} */
    _draw() {
        const words = this._filter.toLowerCase().split(/\s+/).filter(Boolean);
        const found = this._sessions.filter((it) => matches(it, words)).sort((one, other) => this._compare(one, other));
        const shown = found.slice(0, MOST);
        const ids = new Set(shown.map((it) => it.id));
        for (const [id, row] of this._rows) {
            if (!ids.has(id)) {
                row.remove();
                this._rows.delete(id);
            }
        }
        shown.forEach((session, index) => {
            const row = this._row(session);
            if (this._body.rows[index] !== row) {
                this._place(row, index);
            }
        });
        return { shown: shown.length, found: found.length };
    }

    // To move an element takes the focus from it.
    _place(row, index) {
        const focus = row.contains(document.activeElement) ? document.activeElement : null;
        this._body.insertBefore(row, this._body.rows[index] ?? null);
        focus?.focus();
    }

    _compare(one, other) {
        const { key, down } = this._order;
        const [a, b] = [one[key] ?? '', other[key] ?? ''];
        const order = a < b ? -1 : a > b ? 1 : one.id < other.id ? -1 : 1;
        return down ? -order : order;
    }

    _row(session) {
        let row = this._rows.get(session.id);
        if (row === undefined) {
            row = this._made(session);
            this._rows.set(session.id, row);
        }
        row.session = session;
        COLUMNS.forEach((column, index) => {
            const text = String(column.show(session));
            if (row.cells[index].textContent !== text) {
                row.cells[index].textContent = text;
            }
        });
        row.toggleAttribute('data-waiting', session.queued_up + session.queued_down > 0);
        return row;
    }

    _made(session) {
        const row = document.createElement('tr');
        row.tabIndex = -1;
        row.dataset.id = session.id;
        for (const column of COLUMNS) {
            row.insertCell().className = column.kind ?? '';
        }
        row.cells[0].title = session.id;
        const button = document.createElement('button');
        button.type = 'button';
        button.textContent = 'Close';
        button.setAttribute('aria-label', `Close the session of ${session.client}`);
        button.addEventListener('click', () => this._close(row.session));
        row.insertCell().append(button);
        return row;
    }

    _key(event) {
        const row = event.target.closest('tbody tr');
        if (row === null) {
            return;
        }
        const neighbour = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
        if (neighbour) {
            event.preventDefault();
            neighbour.querySelector('button').focus();
        } else if (event.key === 'Delete') {
            event.preventDefault();
            this._close(row.session);
        }
    }
}
