/**
 * The IRC page: rooms, what is said in them, and who is there. What happens is ircclient.js's; this shows it.
 *
 *     Connection ─► IRCClient.receive() ─► events ─► the page      what is typed ─► IRCClient ─► take() ─► Connection
 *
 * Each connection has a client of its own; rooms and their logs outlast it.
 */

import { Connection, RETRY_CODES } from './connection.js';
import { askOwn, BUSY, FAILED, IDLE, LIVE, prepareDial, showOpen, tell } from './dial.js';
import { checkNick } from './irc.js';
import { IRCClient } from './ircclient.js';
import { HELP, parseCommand, parseNames } from './irccommands.js';
import { element, Rooms, SERVER } from './ircrooms.js';

/** A server that ends a session is missed, too: only the user does not come back. */
const CODES = new Set([...RETRY_CODES, 1000, 1005]);

const byId = (id) => document.getElementById(id);

class Chat {
    constructor() {
        this._rooms = new Rooms(byId('rooms'), byId('log'), () => this._describeSoon());
        this._client = null;
        this._nick = '';
        this._channels = new Map();
        this._isLeaving = false;
        this._isDescribing = false;
        this._connection = new Connection({
            opened: () => this._begin(),
            received: (sock) => this._handle(this._client.receive(sock.rQshiftBytes())),
            waiting: (text) => this._miss(text),
            ended: (text, isClean) => this._end(text, isClean),
            ask: askOwn,
            codes: CODES,
        });
    }

    /** @throws {RangeError} for what cannot be a nick. */
    connect(url, nick, channels) {
        checkNick(nick);
        const isAnother = url.href !== this._connection.url?.href;
        this._connection.connect(url);
        this._nick = nick;
        this._channels.clear();
        this._client = null;
        this._isLeaving = false;
        channels.forEach((channel) => this._remember(channel));
        if (isAnother) {
            this._rooms.clear();
        }
        byId('chat').hidden = false;
        byId('dial').querySelector('details').open = false;
        showOpen(true);
        tell(`Connecting to ${url.host} …`, BUSY);
    }

    hangUp() {
        if (this._connection.isOpen) {
            this._client.quit('Leaving');
            this._flush();
        }
        this._connection.disconnect();
        showOpen(false);
        tell('Disconnected.', IDLE);
    }

    join(channel) {
        return this._act((client) => client.join(channel));
    }

    /** Leave the room that is shown: a channel for all to see, a conversation for oneself. */
    part(reason = '') {
        const room = this._rooms.current;
        if (this._client?.room(room)) {
            return this._act((client) => client.part(room, reason));
        }
        if (room !== SERVER) {
            this._rooms.remove(room);
        }
        return true;
    }

    /**
     * Say what was typed, or do it where it begins with a slash.
     *
     * @returns {boolean} whether that could be done; if not, it is worth keeping.
     */
    enter(text) {
        const { command, rest } = parseCommand(text);
        const [first] = rest.split(' ', 1);
        const commands = {
            say: () => this._say(this._rooms.current, rest, 'say'),
            me: () => this._say(this._rooms.current, rest, 'action'),
            msg: () => this._say(first, rest.slice(first.length).trimStart(), 'say'),
            join: () => parseNames(rest).every((channel) => this.join(channel)),
            part: () => this.part(rest),
            nick: () => this._rename(rest.trim()),
            topic: () => this._act((client) => client.setTopic(this._rooms.current, rest)),
            quit: () => this._quit(rest),
            raw: () => this._act((client) => client.raw(rest)),
            help: () => this._note('event', HELP),
            error: () => !this._note('error', rest),
        };
        return commands[command]();
    }

    talkTo(nick) {
        this._rooms.show(nick);
        byId('line').focus();
    }

    _rename(nick) {
        return this._act((client) => {
            client.changeNick(nick);
            this._nick = nick;
        });
    }

    _quit(reason) {
        if (!this._connection.isOpen) {
            this.hangUp();
            return true;
        }
        this._isLeaving = true;
        return this._act((client) => client.quit(reason));
    }

    _say(room, text, kind) {
        if (room === SERVER) {
            return !this._note('error', 'Nobody is in here; join a channel.');
        }
        if (this._connection.isOpen && !this._client.canSay(room)) {
            return !this._note('error', `Not in ${room} yet; your text is kept.`);
        }
        return this._act((client) => this._handle(client.say(room, text, kind)));
    }

    /** @returns {boolean} whether it could be done */
    _act(action) {
        if (!this._connection.isOpen) {
            return !this._note('error', 'Not connected; your text is kept.');
        }
        try {
            action(this._client);
        } catch (error) {
            return !this._note('error', error.message);
        }
        this._flush();
        return true;
    }

    /** @returns {boolean} true */
    _note(kind, text) {
        this._rooms.append({ room: this._rooms.current, kind, text });
        return true;
    }

    _flush() {
        if (this._connection.isOpen) {
            this._connection.sock.send(this._client.take());
        }
    }

    // -- How the connection stands

    _begin() {
        this._client = new IRCClient({ nick: this._nick, channels: [...this._channels.values()] });
        this._flush();
    }

    _miss(text) {
        if (this._isLeaving) {
            this._connection.disconnect();
            this._end('Disconnected.', true);
        } else {
            this._tellAll(text);
            tell(text, FAILED);
        }
    }

    _end(text, isClean) {
        this._tellAll(text);
        showOpen(false);
        tell(text, isClean ? IDLE : FAILED);
    }

    _tellAll(text) {
        for (const room of new Set([SERVER, this._rooms.current])) {
            this._rooms.append({ room, kind: 'error', text });
        }
    }

    // -- What happens

    _handle(events) {
        const handlers = {
            message: (event) => this._hear(event),
            joined: ({ room }) => this._enter(room),
            parted: ({ room }) => this._leave(room),
            room: () => this._describeSoon(),
            registered: () => this._welcome(),
            nick: () => this._welcome(),
            unnamed: ({ text }) => tell(`${text} Choose another: /nick name`, FAILED),
        };
        for (const event of events) {
            handlers[event.type](event);
        }
        this._flush();
    }

    _hear(event) {
        this._rooms.append(event);
        if (event.kind === 'error' && event.room === SERVER && this._rooms.current !== SERVER) {
            this._note('error', event.text); // it answers what was done just now
        }
    }

    _remember(channel) {
        this._channels.set(channel.toLowerCase(), channel);
    }

    _enter(room) {
        if (!this._channels.has(room.toLowerCase())) {
            this._remember(room);
        }
        this._rooms.show(room);
    }

    _leave(room) {
        this._channels.delete(room.toLowerCase());
        this._rooms.remove(room);
    }

    _welcome() {
        this._connection.settle();
        tell(`Connected as ${this._client.nick}.`, LIVE);
        byId('line').focus();
    }

    _describeSoon() {
        if (!this._isDescribing) {
            this._isDescribing = true;
            requestAnimationFrame(() => this._describe());
        }
    }

    /** Show topic and users of the current room. */
    _describe() {
        this._isDescribing = false;
        const name = this._rooms.current;
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
        if (byId('line').value !== '' && chat.enter(byId('line').value)) {
            byId('line').value = '';
        }
    });
    byId('join').addEventListener('submit', (event) => {
        event.preventDefault();
        if (parseNames(event.target.elements.channel.value).every((channel) => chat.join(channel))) {
            event.target.reset();
        }
    });
    byId('rooms').addEventListener('click', () => byId('line').focus());
    byId('part').addEventListener('click', () => chat.part());
    prepareDial({
        connect: (url) => chat.connect(url, dial.nick.value.trim(), parseNames(dial.channel.value)),
        hangUp: () => chat.hangUp(),
        isReady: () => dial.nick.value !== '',
    });
}

main();
