/**
 * The landing page: says what the port leads to, and shows an exchange with it as text, a line at a time.
 *
 * Only with `demo:` it connects unasked: another target's session would have begun by looking at a page.
 */

import { addressOf, socketURL } from './address.js';
import { Connection } from './connection.js';
import { askOwn, BUSY, FAILED, IDLE, LIVE, tell } from './dial.js';
import { Scrollback } from './scrollback.js';

const TARGETS = {
    demo: { words: 'It leads to the line server that is built in.', page: '' },
    telnet: { words: 'It leads to a telnet server.', page: 'wstelnet.html' },
    irc: { words: 'It leads to an IRC server.', page: 'wsirc.html' },
    vnc: { words: 'It leads to a VNC server.', page: 'wsvnc.html' },
    other: { words: 'It leads to a server that speaks a protocol of its own.', page: '' },
};

const MAX_LINES = 1000;
/** A line with its end, or as much as is shown as one. */
const LINE = /[^\n]{0,4095}\n|[^\n]{1,4096}/gu;

const byId = (id) => document.getElementById(id);
const form = byId('say');
const line = byId('line');
const encoder = new TextEncoder();
let decoder = new TextDecoder();
let target = '';

const exchange = new Scrollback(byId('exchange'), ({ text, kind }) => {
    const span = document.createElement('span');
    span.className = kind;
    span.textContent = text;
    return span;
}, MAX_LINES);

function show(text, kind) {
    for (const [piece] of text.matchAll(LINE)) {
        exchange.append({ text: piece, kind });
    }
}

function enable(isOpen) {
    line.disabled = !isOpen;
    form.querySelector('button').disabled = !isOpen;
    byId('connect').hidden = isOpen;
}

const connection = new Connection({
    opened() {
        // The demo keeps nothing that could be lost, and is left for each of the pages.
        tell('Connected.', LIVE, target !== 'demo');
        enable(true);
        line.focus({ preventScroll: true });
    },
    received: (sock) => show(decoder.decode(sock.rQshiftBytes(), { stream: true }), 'received'),
    ended(text, isClean) {
        tell(text, isClean ? IDLE : FAILED);
        enable(false);
    },
    ask: askOwn,
    codes: new Set(),
});

function connect() {
    exchange.replace([]);
    decoder = new TextDecoder();
    tell('Connecting …', BUSY);
    connection.connect(socketURL(addressOf(location)));
}

/** Mark the page that is meant for the target, and those that cannot speak with it. */
function mark() {
    byId('target').textContent = TARGETS[target].words;
    for (const card of document.querySelectorAll('#pages a')) {
        if (card.getAttribute('href') === TARGETS[target].page) {
            card.setAttribute('aria-current', 'true');
        } else if (!card.dataset.targets.split(' ').includes(target)) {
            card.className = 'unfit';
            card.querySelector('span').append(' – not with this target');
        }
    }
}

byId('connect').addEventListener('click', connect);
form.addEventListener('submit', (event) => {
    event.preventDefault();
    show(`${line.value}\n`, 'sent');
    connection.sock.send(encoder.encode(`${line.value}\r\n`));
    line.value = '';
});

enable(false);
const answer = await fetch('wsproxy.json');
({ target = '' } = answer.ok ? await answer.json() : {});
if (Object.hasOwn(TARGETS, target)) {
    mark();
}
if (target === 'demo') {
    connect();
}
