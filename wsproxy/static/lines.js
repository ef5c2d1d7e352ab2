/**
 * The landing page: says what the port leads to, and shows an exchange with it as text, a line at a time.
 *
 * Only with `demo:` it connects unasked: another target's session would have begun by looking at a page.
 */

import { addressOf, socketURL } from './address.js';
import { ending, tell } from './dial.js';
import { Websock } from './websock.js';

const TARGETS = {
    demo: 'It leads to the line server that is built in.',
    telnet: 'It leads to a telnet server.',
    irc: 'It leads to an IRC server.',
    vnc: 'It leads to a VNC server.',
    other: 'It leads to a server that speaks a protocol of its own.',
};

const byId = (id) => document.getElementById(id);
const form = byId('say');
const line = byId('line');
const exchange = byId('exchange');
const encoder = new TextEncoder();
const sock = new Websock();
let decoder = new TextDecoder();

function show(text, kind) {
    const span = document.createElement('span');
    span.className = kind;
    span.textContent = text;
    exchange.append(span);
    exchange.scrollTop = exchange.scrollHeight;
}

function enable(isOpen) {
    line.disabled = !isOpen;
    form.querySelector('button').disabled = !isOpen;
    byId('connect').hidden = isOpen;
}

function connect() {
    exchange.replaceChildren();
    decoder = new TextDecoder();
    tell('Connecting …');
    sock.open(socketURL(addressOf(location)));
}

sock.on('open', () => {
    tell('Connected.');
    enable(true);
    line.focus({ preventScroll: true });
});
sock.on('message', () => show(decoder.decode(sock.rQshiftBytes(), { stream: true }), 'received'));
sock.on('close', (event) => {
    tell(ending(event));
    enable(false);
});

byId('connect').addEventListener('click', connect);
form.addEventListener('submit', (event) => {
    event.preventDefault();
    show(`${line.value}\n`, 'sent');
    sock.send(encoder.encode(`${line.value}\r\n`));
    line.value = '';
});

const answer = await fetch('wsproxy.json');
const { target } = answer.ok ? await answer.json() : {};
byId('target').textContent = TARGETS[target] ?? '';
document.querySelector(`#pages a[data-target="${target}"]`)?.setAttribute('aria-current', 'true');
if (target === 'demo') {
    connect();
}
