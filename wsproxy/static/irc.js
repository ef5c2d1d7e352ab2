/**
 * The IRC protocol's lines (RFC 1459 and 2812, tags as IRCv3 has them): bytes to messages, and back.
 *
 *     from the network ─► LineReader ─► parseMessage() ─► { tags, source, command, params }
 *     formatMessage(command, ...params) ─► to the network
 *
 * @module
 */

/** Bytes of a message, CR LF included (RFC 2812 section 2.3). */
export const MAX_MESSAGE = 512;

/** Bytes of an incoming line that are kept: IRCv3 puts up to 8191 bytes of tags before the message. */
const MAX_LINE = 8191 + MAX_MESSAGE;

const LF = 10;
const CR = 13;
const CTCP = '\x01';

/* eslint-disable no-control-regex */
const FORBIDDEN = /[\0\r\n]+/g;
/** Bold, colour and the like as mIRC introduced them. */
const FORMATTING = /\x03(?:\d{1,2}(?:,\d{1,2})?)?|\x04(?:[0-9a-f]{6}(?:,[0-9a-f]{6})?)?|[\x02\x0f\x11\x16\x1d-\x1f]/gi;
/** They part a nick from user and host, from other nicks, and from text, or stand for any. */
const NEVER_IN_NICKS = /[\0- !@,:*?\x7f]/;
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f]/g;
/* eslint-enable no-control-regex */

const encoder = new TextEncoder();
const utf8 = new TextDecoder('utf-8', { fatal: true });
const latin1 = new TextDecoder('windows-1252');

/** Lines as text. Each is UTF-8, or where it is not, windows-1252, as old clients write. */
export class LineReader {
    constructor() {
        this._line = [];
    }

    /**
     * @param {Uint8Array} bytes as they came, cut anywhere
     * @returns {string[]} the lines that are complete now, without their ends and without empty ones.
     */
    receive(bytes) {
        const lines = [];
        for (const byte of bytes) {
            if (byte !== CR && byte !== LF) {
                if (this._line.length < MAX_LINE) {
                    this._line.push(byte);
                }
            } else if (this._line.length > 0) {
                lines.push(decode(Uint8Array.from(this._line)));
                this._line = [];
            }
        }
        return lines;
    }
}

function decode(bytes) {
    try {
        return utf8.decode(bytes);
    } catch {
        return latin1.decode(bytes);
    }
}

/**
 * `[@tags] [:source] command params… [:last param]` (RFC 2812 section 2.3.1).
 *
 * @param {string} line
 * @returns {{tags: Map<string, string>, source: {nick: string, user: string, host: string}, command: string,
 *     params: string[]}} the command in upper case; parts that are missing are empty. A server's name is a nick.
 */
export function parseMessage(line) {
    let rest = line;

    function word() {
        const [, first, remainder] = /^([^ ]*) *(.*)$/su.exec(rest);
        rest = remainder;
        return first;
    }

    const tags = parseTags(rest.startsWith('@') ? word().slice(1) : '');
    const source = parseSource(rest.startsWith(':') ? word().slice(1) : '');
    const command = word().toUpperCase();
    const params = [];
    while (rest !== '') {
        if (rest.startsWith(':')) {
            params.push(rest.slice(1));
            break;
        }
        params.push(word());
    }
    return { tags, source, command, params };
}

function parseTags(text) {
    const unescaped = { ':': ';', s: ' ', r: '\r', n: '\n' };
    const pairs = text.split(';').filter((tag) => tag !== '').map((tag) => {
        const [name, ...value] = tag.split('=');
        return [name, value.join('=').replace(/\\(.?)/gsu, (_, char) => unescaped[char] ?? char)];
    });
    return new Map(pairs);
}

function parseSource(text) {
    const [, nick, user, host] = /^([^!@]*)(?:!([^@]*))?(?:@(.*))?$/su.exec(text) ?? [null, text];
    return { nick, user: user ?? '', host: host ?? '' };
}

/**
 * One message as bytes. What is longer than a message may be is cut between two characters; what would end the line
 * becomes a space.
 *
 * @param {string} command
 * @param {...string} params the last one may be empty and contain spaces
 * @throws {RangeError} where another one is empty, contains a space or begins with a colon: it would arrive as others.
 */
export function formatMessage(command, ...params) {
    const words = [command, ...params.slice(0, -1)];
    const wrong = words.find((word) => word === '' || /[ \0\r\n]/.test(word) || word.startsWith(':'));
    if (wrong !== undefined) {
        throw new RangeError(wrong === ''
            ? 'A name or a command is missing.'
            : `"${plain(wrong)}" cannot be a name: it must be one word, and not begin with a colon.`);
    }
    const last = params.slice(-1).map((param) => `:${param.replace(FORBIDDEN, ' ')}`);
    const [line] = splitText([...words, ...last].join(' '), MAX_MESSAGE - 2);
    return encoder.encode(`${line}\r\n`);
}

/**
 * Whether a nick can be one. What else a server does not like (digits in front, letters beyond ASCII) it says itself.
 *
 * @throws {RangeError} whose message is for the user.
 */
export function checkNick(nick) {
    if (nick === '') {
        throw new RangeError('A nick is missing.');
    }
    if (NEVER_IN_NICKS.test(nick)) {
        throw new RangeError(`"${plain(nick)}" cannot be a nick: it may have no spaces and none of ! @ , : * ?`);
    }
}

/**
 * Cut a text into pieces of at most `limit` bytes of UTF-8, between characters, and where possible after a space.
 *
 * @returns {string[]} at least one; joined they are `text`.
 */
export function splitText(text, limit) {
    const pieces = [];
    let piece = '';
    let size = 0;
    for (const char of text) {
        const bytes = encoder.encode(char).length;
        while (piece !== '' && size + bytes > limit) {
            const space = piece.lastIndexOf(' ') + 1;
            // A word that fills half of the piece is cut rather than moved.
            const end = space > piece.length / 2 ? space : piece.length;
            pieces.push(piece.slice(0, end));
            piece = piece.slice(end);
            size = encoder.encode(piece).length;
        }
        piece += char;
        size += bytes;
    }
    return [...pieces, piece];
}

/**
 * What a message's text is, if it is a command to the client rather than words.
 *
 * @returns {{command: string, text: string}|null} for an action, `{ command: 'ACTION', text: 'waves' }`.
 */
export function parseCTCP(text) {
    if (!text.startsWith(CTCP)) {
        return null;
    }
    const words = text.replaceAll(CTCP, '');
    const [, command, rest] = /^([^ ]*) ?(.*)$/su.exec(words);
    return { command: command.toUpperCase(), text: rest };
}

export function formatCTCP(command, text) {
    return `${CTCP}${command} ${text}${CTCP}`;
}

/** The words alone: without colours and other formatting, and without what could not be shown. */
export function plain(text) {
    return text.replace(FORMATTING, '').replace(CONTROLS, '\ufffd');
}

/** Whether a text speaks of `nick`: in any case, as a word of its own. */
export function mentions(text, nick) {
    const name = nick.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
    return new RegExp(`(?<![\\p{L}\\p{N}_])${name}(?![\\p{L}\\p{N}_])`, 'iu').test(plain(text));
}

/** What a server says of itself in RPL_ISUPPORT, and what follows from it. Until then it is as RFC 1459 has it. */
export class Features {
    constructor() {
        this._mapping = 'rfc1459';
        this._types = '#&+!';
        this._userModes = 'ov';
        this._marks = '@+';
        this._channelModes = ['b', 'k', 'l', ''];
    }

    /** @param {string[]} words such as 'CASEMAPPING=ascii' */
    learn(words) {
        for (const word of words) {
            const [name, value = ''] = word.split('=');
            const prefix = /^\((.*)\)(.*)$/.exec(value);
            if (name === 'CASEMAPPING') {
                this._mapping = value;
            } else if (name === 'CHANTYPES') {
                this._types = value;
            } else if (name === 'CHANMODES') {
                this._channelModes = value.split(',');
            } else if (name === 'PREFIX' && prefix) {
                [, this._userModes, this._marks] = prefix;
            }
        }
    }

    isChannel(name) {
        return name !== '' && this._types.includes(name[0]);
    }

    /** Names that are the same to the server are equal here. */
    fold(name) {
        const lower = name.replace(/[A-Z]/g, (char) => char.toLowerCase());
        if (this._mapping === 'ascii') {
            return lower;
        }
        const special = { '[': '{', ']': '}', '\\': '|', '~': this._mapping === 'rfc1459' ? '^' : '~' };
        return lower.replace(/[[\]\\~]/g, (char) => special[char]);
    }

    /** A name as RPL_NAMREPLY has it: `@nick`, parted. */
    splitMarks(word) {
        const length = [...word].findIndex((char) => !this._marks.includes(char));
        return { marks: word.slice(0, length), nick: word.slice(length) };
    }

    /** The order of a user with these marks among others: 0 for the highest. */
    rank(marks) {
        const at = [...this._marks].findIndex((mark) => marks.includes(mark));
        return at < 0 ? this._marks.length : at;
    }

    /** The highest of some marks, '' for none. */
    highest(marks) {
        return this._marks[this.rank(marks)] ?? '';
    }

    /**
     * Which users a MODE message marks.
     *
     * @param {string} modes such as '+o-v'
     * @param {string[]} args
     * @returns {{isOn: boolean, mark: string, nick: string}[]}
     */
    markings(modes, args) {
        const [lists = '', always = '', whereSet = ''] = this._channelModes;
        const rest = [...args];
        const found = [];
        let isOn = true;
        for (const mode of modes) {
            if (mode === '+' || mode === '-') {
                isOn = mode === '+';
            } else if (this._userModes.includes(mode)) {
                found.push({ isOn, mark: this._marks[this._userModes.indexOf(mode)], nick: rest.shift() ?? '' });
            } else if (`${lists}${always}${isOn ? whereSet : ''}`.includes(mode)) {
                rest.shift();
            }
        }
        return found;
    }
}
