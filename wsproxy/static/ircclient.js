/**
 * A user's side of an IRC connection: who is where, and what is to be shown; no socket and no screen.
 *
 *     from the network ─► receive() ─► events
 *     command(), say(), join(), … ─► take() ─► to the network
 *
 * An event is an object with a `type`:
 *
 *     { type: 'registered' }                       the server has taken us in; `nick` is ours
 *     { type: 'unnamed', text }                    it will not, before changeNick() finds a better one
 *     { type: 'message', room, kind, from, text, highlight }
 *         kind is 'say', 'action', 'notice', 'event' or 'error'; room is '' for the server's own
 *     { type: 'joined', room }, { type: 'parted', room }   we did
 *     { type: 'room', room }                       its users or its topic changed
 *     { type: 'nick' }                             ours changed
 *
 * @module
 */

import {
    checkNick,
    Features, formatCTCP, formatMessage, LineReader, MAX_MESSAGE, mentions, parseCTCP, parseMessage, plain, splitText,
} from './irc.js';

/** Bytes of user and host that servers put before what they relay: 10 and 63, where ours are not known yet. */
const UNKNOWN_MASK = '!'.length + 10 + '@'.length + 63;
/** Nine characters, RFC 2812 section 1.2.1; servers that allow more say so too late. */
const SURE_NICK = 9;
const MAX_NICK_ATTEMPTS = 10;

const NUMERICS = {
    '001': '_welcome',
    '005': '_supports',
    '332': '_topicIs',
    '353': '_names',
    '366': '_endOfNames',
    '432': '_nickRefused',
    '433': '_nickTaken',
    '436': '_nickTaken',
    '437': '_nickTaken',
};
const HANDLERS = {
    PING: '_ping', JOIN: '_join', PART: '_part', KICK: '_kick', QUIT: '_quit', NICK: '_nick', TOPIC: '_topic',
    PRIVMSG: '_privmsg', NOTICE: '_notice', MODE: '_mode', ERROR: '_error', ...NUMERICS,
};

export class IRCClient {
    /**
     * @param {object} options
     * @param {string} options.nick
     * @param {string[]} [options.channels] to join at once
     * @throws {RangeError} for what cannot be a nick.
     */
    constructor({ nick, channels = [] }) {
        checkNick(nick);
        this.nick = nick;
        /** By folded name: `{ name, topic, users }`, and users by folded nick: `{ nick, marks }`. */
        this.rooms = new Map();
        this._wanted = nick;
        this._channels = channels;
        this._isRegistered = false;
        this._attempts = 0;
        this._mask = UNKNOWN_MASK;
        this._features = new Features();
        this._reader = new LineReader();
        this._events = [];
        this._output = [];
        this._send('NICK', nick);
        this._send('USER', nick, '0', '*', nick);
    }

    get isRegistered() {
        return this._isRegistered;
    }

    isChannel(name) {
        return this._features.isChannel(name);
    }

    /** Whether what is said there would reach somebody: a channel that we are in, or a person. */
    canSay(name) {
        return this._isRegistered && name !== '' && (!this.isChannel(name) || this.room(name) !== undefined);
    }

    /** @returns {object|undefined} of `rooms`, by its name in any case. */
    room(name) {
        return this.rooms.get(this.fold(name));
    }

    fold(name) {
        return this._features.fold(name);
    }

    /** The users of a room as `{ nick, mark }`, operators first; the mark is their highest, '' for none. */
    users(name) {
        const users = [...(this.room(name)?.users.values() ?? [])];
        const rank = ({ marks }) => this._features.rank(marks);
        users.sort((one, other) => rank(one) - rank(other) || one.nick.localeCompare(other.nick));
        return users.map(({ nick, marks }) => ({ nick, mark: this._features.highest(marks) }));
    }

    /** @returns {object[]} the events of these bytes, which may be cut anywhere. */
    receive(bytes) {
        this._events = [];
        for (const line of this._reader.receive(bytes)) {
            const { source, command, params } = parseMessage(line);
            const handler = Object.hasOwn(HANDLERS, command) ? HANDLERS[command] : '_other';
            this[handler](source, params, command);
        }
        return this._events;
    }

    /** The bytes that are to be sent now. */
    take() {
        const bytes = Uint8Array.from(this._output);
        this._output = [];
        return bytes;
    }

    // -- What the user does. All throw RangeError where a name is none.

    join(channel) {
        this._send('JOIN', this.isChannel(channel) ? channel : `#${channel}`);
    }

    part(channel, reason = '') {
        this._send('PART', channel, reason);
    }

    changeNick(nick) {
        checkNick(nick);
        if (!this._isRegistered) {
            this.nick = nick;
        }
        this._send('NICK', nick);
    }

    setTopic(channel, topic) {
        this._send('TOPIC', channel, topic);
    }

    quit(reason = '') {
        this._send('QUIT', reason);
    }

    /** Say something in a room, in as many messages as it needs. @returns {object[]} the events of it. */
    say(room, text, kind = 'say') {
        this._events = [];
        const isAction = kind === 'action';
        const frame = `:${this.nick} PRIVMSG ${room} :${isAction ? formatCTCP('ACTION', '') : ''}\r\n`;
        const limit = MAX_MESSAGE - new TextEncoder().encode(frame).length - this._mask;
        for (const line of text.split(/[\r\n]+/).filter((part) => part !== '')) {
            for (const piece of splitText(line, limit)) {
                this._send('PRIVMSG', room, isAction ? formatCTCP('ACTION', piece) : piece);
                this._show(room, kind, this.nick, piece);
            }
        }
        return this._events;
    }

    /** Send a line of the protocol as it is written. */
    raw(line) {
        const { command, params } = parseMessage(line);
        this._send(command, ...params);
    }

    // -- What comes in

    _send(command, ...params) {
        this._output.push(...formatMessage(command, ...params));
    }

    _emit(type, fields = {}) {
        this._events.push({ type, ...fields });
    }

    _show(room, kind, from, text, highlight = false) {
        this._emit('message', { room, kind, from: plain(from), text: plain(text), highlight });
    }

    _isMe(nick) {
        return this.fold(nick) === this.fold(this.nick);
    }

    _ping(source, params) {
        this._send('PONG', ...params.slice(0, 1));
    }

    _welcome(source, params, command) {
        this._isRegistered = true;
        this.nick = params[0] || this.nick;
        this._emit('registered');
        this._other(source, params, command);
        for (const channel of this._channels) {
            this.join(channel);
        }
    }

    _supports(source, params) {
        this._features.learn(params.slice(1, -1));
    }

    _nickTaken(source, params) {
        this._attempts += 1;
        if (this._isRegistered || this._attempts > MAX_NICK_ATTEMPTS) {
            this._nickRefused(source, params);
            return;
        }
        const suffix = this._attempts === 1 ? '_' : `_${this._attempts}`;
        this.nick = this._wanted.slice(0, SURE_NICK - suffix.length) + suffix;
        this._show('', 'event', '', `${params[1]} is in use, trying ${this.nick}`);
        this._send('NICK', this.nick);
    }

    _nickRefused(source, params) {
        const [nick = '', ...why] = params.slice(1);
        const reason = plain(why.join(' ')) || 'it says no more';
        const text = `The server does not accept the nick "${plain(nick)}": ${reason}.`;
        this._show('', 'error', '', text);
        if (!this._isRegistered) {
            this._emit('unnamed', { text });
        }
    }

    _topicIs(source, [, channel = '', topic = '']) {
        const room = this.room(channel);
        if (room) {
            room.topic = plain(topic);
            this._emit('room', { room: room.name });
        }
    }

    _names(source, params) {
        const room = this.room(params[2] ?? '');
        for (const word of room ? params.at(-1).split(' ').filter((name) => name !== '') : []) {
            const user = this._features.splitMarks(word);
            room.users.set(this.fold(user.nick), user);
        }
    }

    _endOfNames(source, [, channel = '']) {
        const room = this.room(channel);
        if (room) {
            this._emit('room', { room: room.name });
        }
    }

    _join(source, [channel = '']) {
        if (this._isMe(source.nick)) {
            this.rooms.set(this.fold(channel), { name: channel, topic: '', users: new Map() });
            // Others see what we say behind this.
            this._mask = `!${source.user}@${source.host}`.length;
            this._emit('joined', { room: channel });
        }
        const room = this.room(channel);
        room?.users.set(this.fold(source.nick), { nick: source.nick, marks: '' });
        this._tell(room, `${source.nick} joined`);
    }

    _part(source, [channel = '', reason = '']) {
        this._leave(channel, source.nick, `${source.nick} left${reason && `: ${reason}`}`);
    }

    _kick(source, [channel = '', nick = '', reason = '']) {
        this._leave(channel, nick, `${nick} was kicked by ${source.nick}${reason && `: ${reason}`}`);
    }

    _quit(source, [reason = '']) {
        for (const room of this.rooms.values()) {
            if (room.users.delete(this.fold(source.nick))) {
                this._tell(room, `${source.nick} quit${reason && `: ${reason}`}`);
            }
        }
    }

    _nick(source, [nick = '']) {
        if (this._isMe(source.nick)) {
            this.nick = nick || this.nick;
            this._emit('nick');
        }
        for (const room of this.rooms.values()) {
            const user = room.users.get(this.fold(source.nick));
            if (user) {
                room.users.delete(this.fold(source.nick));
                room.users.set(this.fold(nick), { ...user, nick });
                this._tell(room, `${source.nick} is now ${nick}`);
            }
        }
    }

    _topic(source, [channel = '', topic = '']) {
        const room = this.room(channel);
        if (room) {
            room.topic = plain(topic);
            this._tell(room, `${source.nick} set the topic: ${topic}`);
        }
    }

    _mode(source, [target = '', modes = '', ...args]) {
        const room = this.room(target);
        const text = `${source.nick} set mode ${[modes, ...args].join(' ')} on ${target}`;
        if (!room) {
            this._show('', 'event', '', text);
            return;
        }
        for (const { isOn, mark, nick } of this._features.markings(modes, args)) {
            const user = room.users.get(this.fold(nick));
            if (user) {
                user.marks = user.marks.replace(mark, '') + (isOn ? mark : '');
            }
        }
        this._tell(room, text);
    }

    _privmsg(source, [target = '', text = '']) {
        const ctcp = parseCTCP(text);
        if (ctcp !== null && ctcp.command !== 'ACTION') {
            this._show('', 'event', '', `${source.nick} asks for ${ctcp.command}`);
            return;
        }
        const room = this._roomOf(source, target);
        const words = ctcp === null ? text : ctcp.text;
        const isDirect = !this.isChannel(target);
        this._show(room, ctcp === null ? 'say' : 'action', source.nick, words, isDirect || mentions(words, this.nick));
    }

    _notice(source, [target = '', text = '']) {
        const isServers = source.user === '' || !this._isRegistered;
        this._show(isServers ? '' : this._roomOf(source, target), 'notice', source.nick, text);
    }

    _error(source, params) {
        this._show('', 'error', '', params.join(' '));
    }

    _failure(source, params) {
        this._show(this.room(params[1] ?? '')?.name ?? '', 'error', '', params.slice(1).join(' '));
    }

    _other(source, params, command) {
        if (/^[45]\d\d$/.test(command)) {
            this._failure(source, params);
        } else {
            // The first parameter of a numeric reply is our own nick.
            const words = /^\d{3}$/.test(command) ? params.slice(1) : [command, ...params];
            this._show('', 'event', '', words.join(' '));
        }
    }

    // -- Inside

    /** Where a message belongs: its channel, or the one who wrote it. */
    _roomOf(source, target) {
        return this.isChannel(target) ? this.room(target)?.name ?? target : source.nick;
    }

    _tell(room, text) {
        if (room) {
            this._show(room.name, 'event', '', text);
            this._emit('room', { room: room.name });
        }
    }

    _leave(channel, nick, text) {
        const room = this.room(channel);
        room?.users.delete(this.fold(nick));
        this._tell(room, text);
        if (room && this._isMe(nick)) {
            this.rooms.delete(this.fold(channel));
            this._emit('parted', { room: room.name });
        }
    }
}
