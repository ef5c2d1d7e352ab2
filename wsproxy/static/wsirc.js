/**
 * The IRC page: rooms, what is said in them, and who is there. What happens is ircclient.js's; this shows it.
 *
 *     Websock ─► IRCClient.receive() ─► events ─► the page      what is typed ─► IRCClient ─► take() ─► Websock
 */

import { ending, prepareDial, showOpen, tell } from './dial.js';
import { IRCClient } from './ircclient.js';
import { Websock } from './websock.js';

/** Messages of a room that are kept. */
const MAX_KEPT = 1000;
const SERVER = '';
const HELP = '/join #channel, /part [reason], /nick name, /me does, /msg nick text, /topic text, /quit [reason], '
    + '/raw LINE';

const byId = (id) => document.getElementById(id);

function element(name, className, text) {
    const made = document.createElement(name);
    made.className = className;
    made.textContent = text;
    return made;
}

/** The log of each room, of which one is shown. */
class Rooms {
    constructor(describe) {
        this._describe = describe;
        this._rooms = new Map();
        this.current = SERVER;
    }

    clear() {
        this._rooms.clear();
        byId('rooms').replaceChildren();
        this.add(SERVER);
        this.show(SERVER);
    }

    /** @param {string} name the server's for '' */
    add(name) {
        const key = name.toLowerCase();
        if (!this._rooms.has(key)) {
            const button = element('button', '', name || 'Server');
            button.type = 'button';
            button.addEventListener('click', () => {
                this.show(name);
                byId('line').focus();
            });
            byId('rooms').append(button);
            this._rooms.set(key, { name, button, lines: [] });
        }
        return this._rooms.get(key);
    }

    remove(name) {
        this._rooms.get(name.toLowerCase())?.button.remove();
        this._rooms.delete(name.toLowerCase());
        if (this._isShown(name)) {
            this.show(SERVER);
        }
    }

    show(name) {
        this.current = this.add(name).name;
        for (const { button } of this._rooms.values()) {
            button.removeAttribute('aria-current');
        }
        const { button, lines } = this.add(name);
        button.setAttribute('aria-current', 'true');
        button.className = '';
        byId('log').replaceChildren(...lines);
        byId('log').scrollTop = byId('log').scrollHeight;
        this._describe(this.current);
    }

    append({ room, kind, from, text, highlight }) {
        const { button, lines } = this.add(room);
        const line = element('p', highlight ? `${kind} highlight` : kind, '');
        const now = new Date();
        line.append(element('time', '', now.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })));
        if (from) {
            line.append(element('b', '', kind === 'action' ? `* ${from} ` : `${from}: `));
        }
        line.append(text);
        lines.push(line);
        const dropped = lines.length > MAX_KEPT ? lines.shift() : null;
        if (this._isShown(room)) {
            const log = byId('log');
            const wasAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
            dropped?.remove();
            log.append(line);
            if (wasAtEnd) {
                log.scrollTop = log.scrollHeight;
            }
        } else if (highlight) {
            button.className = 'unread called';
        } else if (kind === 'say' || kind === 'action') {
            button.classList.add('unread');
        }
    }

    _isShown(name) {
        return this.current.toLowerCase() === name.toLowerCase();
    }
}

class Chat {
    constructor() {
        this._rooms = new Rooms((name) => this._describe(name));
        this._client = null;
        this._sock = new Websock();
        this._sock.on('open', () => this._flush());
        this._sock.on('message', () => this._handle(this._client.receive(this._sock.rQshiftBytes())));
        this._sock.on('close', (event) => {
            showOpen(false);
            tell(ending(event));
            this._rooms.append({ room: SERVER, kind: 'error', from: '', text: ending(event) });
        });
    }

    connect(url, nick, channels) {
        const client = new IRCClient({ nick, channels });
        this._sock.close();
        this._sock.open(url);
        this._client = client;
        this._rooms.clear();
        byId('chat').hidden = false;
        byId('dial').querySelector('details').open = false;
        showOpen(true);
        tell(`Connecting to ${url.host} …`);
    }

    hangUp() {
        this._act((client) => client.quit('Leaving'));
        this._sock.close(1000);
        showOpen(false);
        tell('Disconnected.');
    }

    join(channel) {
        this._act((client) => client.join(channel));
    }

    /** Leave the room that is shown: a channel for all to see, a conversation for oneself. */
    part(reason = '') {
        const room = this._rooms.current;
        if (this._client?.room(room)) {
            this._act((client) => client.part(room, reason));
        } else if (room !== SERVER) {
            this._rooms.remove(room);
        }
    }

    /** Say what was typed, or do it where it begins with a slash. */
    enter(text) {
        const [, command, rest] = /^\/(\w+) *(.*)$/su.exec(text) ?? [];
        if (command === undefined) {
            // A second slash makes the first one mean itself.
            this._say(text.replace(/^\/\//, '/'), 'say');
        } else {
            this._obey(command.toLowerCase(), rest);
        }
    }

    talkTo(nick) {
        this._rooms.show(nick);
        byId('line').focus();
    }

    _obey(command, rest) {
        const [first] = rest.split(' ', 1);
        const remainder = rest.slice(first.length + 1);
        const commands = {
            join: () => rest.split(/[ ,]+/).forEach((channel) => this.join(channel)),
            part: () => this.part(rest),
            nick: () => this._act((client) => client.changeNick(rest)),
            me: () => this._say(rest, 'action'),
            msg: () => this._act((client) => this._handle(client.say(first, remainder))),
            topic: () => this._act((client) => client.raw(`TOPIC ${this._rooms.current} :${rest}`)),
            quit: () => this._act((client) => client.quit(rest)),
            raw: () => this._act((client) => client.raw(rest)),
            help: () => this._note('event', HELP),
        };
        if (Object.hasOwn(commands, command)) {
            commands[command]();
        } else {
            this._note('error', `There is no /${command}. ${HELP}`);
        }
    }

    _say(text, kind) {
        if (this._rooms.current === SERVER) {
            this._note('error', 'Nobody is in here; join a channel.');
        } else {
            this._act((client) => this._handle(client.say(this._rooms.current, text, kind)));
        }
    }

    _act(action) {
        if (this._sock.readyState !== 'open') {
            this._note('error', 'Not connected.');
            return;
        }
        try {
            action(this._client);
        } catch (error) {
            this._note('error', error.message);
        }
        this._flush();
    }

    _note(kind, text) {
        this._rooms.append({ room: this._rooms.current, kind, from: '', text });
    }

    _flush() {
        this._sock.send(this._client.take());
    }

    _handle(events) {
        for (const event of events) {
            if (event.type === 'message') {
                this._rooms.append(event);
                if (event.kind === 'error' && event.room === SERVER && this._rooms.current !== SERVER) {
                    this._note('error', event.text); // it answers what was done just now
                }
            } else if (event.type === 'joined') {
                this._rooms.show(event.room);
            } else if (event.type === 'parted') {
                this._rooms.remove(event.room);
            } else if (event.type === 'room') {
                this._describe(event.room);
            } else {
                tell(`Connected as ${this._client.nick}.`);
                byId('line').focus();
            }
        }
        this._flush();
    }

    /** Show topic and users of a room, if it is the one that is shown. */
    _describe(name) {
        if (name !== this._rooms.current) {
            return;
        }
        byId('part').hidden = name === SERVER;
        byId('topic').textContent = [name, this._client?.room(name)?.topic].filter(Boolean).join(': ');
        const users = this._client?.users(name) ?? [];
        byId('count').textContent = users.length || '';
        byId('users').replaceChildren(...users.map(({ nick, mark }) => {
            const button = element('button', '', mark + nick);
            button.type = 'button';
            button.addEventListener('click', () => this.talkTo(nick));
            const item = element('li', '', '');
            item.append(button);
            return item;
        }));
    }
}

function main() {
    const chat = new Chat();
    const dial = byId('dial').elements;
    const wanted = new URL(location.href).searchParams;
    dial.nick.value = wanted.get('nick') ?? '';
    dial.channel.value = wanted.get('channel') ?? '';
    byId('people').open = matchMedia('(min-width: 45rem)').matches;

    byId('say').addEventListener('submit', (event) => {
        event.preventDefault();
        if (byId('line').value !== '') {
            chat.enter(byId('line').value);
            byId('line').value = '';
        }
    });
    byId('join').addEventListener('submit', (event) => {
        event.preventDefault();
        chat.join(event.target.elements.channel.value.trim());
        event.target.reset();
    });
    byId('part').addEventListener('click', () => chat.part());
    prepareDial({
        connect: (url) => chat.connect(url, dial.nick.value.trim(), dial.channel.value.split(/[ ,]+/).filter(Boolean)),
        hangUp: () => chat.hangUp(),
        isReady: () => dial.nick.value !== '',
    });
}

main();
