/**
 * The page of the admin side: it asks once a second, while somebody looks.
 *
 * @module
 */

import { Denied, ask, keepToken } from './api.js';
import { Graph } from './graph.js';
import { Table } from './table.js';
import { rate, trip } from './units.js';

const EVERY = 1000; // milliseconds
const HISTORY = 10; // so many of them

const at = (id) => document.getElementById(id);
const graphs = {
    sessions: new Graph(at('graphs'), 'Sessions', String),
    rate_up: new Graph(at('graphs'), 'Up', rate),
    rate_down: new Graph(at('graphs'), 'Down', rate),
    round_trip: new Graph(at('graphs'), 'Round trip', trip),
    refusals: new Graph(at('graphs'), 'Refused', (value) => `${Number(value.toPrecision(2))}/s`),
};
const table = new Table(at('sessions'), askToClose);
let draining = false;
let turn = 0;

function say(text, isAlarm = false) {
    at('state').textContent = text;
    at('state').toggleAttribute('data-alarm', isAlarm);
}

function tell(status) {
    draining = status.draining;
    const words = [`wsproxy ${status.version}`, `${status.sessions} open`];
    if (status.workers.length) {
        words.push(`${status.workers.length} workers`);
    }
    if (status.stale.length) {
        words.push(`silent: ${status.stale.join(', ')}`);
    }
    if (draining) {
        words.push('draining');
    }
    say(words.join(' · '), draining || status.stale.length > 0);
    at('drain').textContent = draining ? 'Take sessions again' : 'Drain';
    at('drain').hidden = false;
}

function count({ shown, found }) {
    at('shown').textContent = `${found} found`;
    at('rest').textContent = found > shown ? `… and ${found - shown} more: filter, or wsproxy sessions` : '';
}

async function look() {
    const [status, listed] = await Promise.all([ask('/status'), ask('/sessions')]);
    if (turn++ % HISTORY === 0) {
        const history = await ask('/history');
        for (const [name, graph] of Object.entries(graphs)) {
            graph.show(history[name]);
        }
    }
    at('access').hidden = true;
    at('content').hidden = false;
    tell(status);
    count(table.show(listed.sessions));
}

async function lookAgain() {
    try {
        if (!document.hidden) {
            await look();
        }
    } catch (error) {
        if (error instanceof Denied) {
            deny(error.message);
            return;
        }
        say(error.message, true);
    }
    setTimeout(lookAgain, EVERY);
}

function deny(why) {
    say('');
    at('content').hidden = true;
    at('drain').hidden = true;
    at('access').hidden = false;
    at('denied').textContent = why;
    at('token').focus();
}

async function attempt(path, method) {
    try {
        await ask(path, method);
    } catch (error) {
        say(error.message, true);
    }
}

function askToClose(session) {
    const dialog = at('closing');
    at('whose').textContent = session.identity ? `${session.identity} (${session.client})` : session.client;
    at('reason').value = '';
    dialog.returnValue = '';
    dialog.onclose = () => {
        if (dialog.returnValue === 'close') {
            const reason = at('reason').value;
            attempt(`/sessions/${session.id}${reason ? `?reason=${encodeURIComponent(reason)}` : ''}`, 'DELETE');
        }
    };
    dialog.showModal();
    at('confirm').focus();
}

at('access').addEventListener('submit', (event) => {
    event.preventDefault();
    keepToken(at('token').value);
    at('token').value = '';
    lookAgain();
});
at('filters').addEventListener('submit', (event) => event.preventDefault());
at('filter').addEventListener('input', () => count(table.filter(at('filter').value)));
at('drain').addEventListener('click', () => attempt('/drain', draining ? 'DELETE' : 'POST'));
addEventListener('keydown', (event) => {
    if (event.key === '/' && event.target.tagName !== 'INPUT') {
        event.preventDefault();
        at('filter').focus();
    } else if (event.key === 'ArrowDown' && event.target === at('filter')) {
        event.preventDefault();
        document.querySelector('tbody button')?.focus();
    }
});
lookAgain();
