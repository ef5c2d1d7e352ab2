/** irc.js and ircclient.js under node: `node --test irc.test.js`. */

import { deepEqual, doesNotThrow, equal, ok, throws } from 'node:assert/strict';
import { test } from 'node:test';

import {
    checkNick, Features, formatCTCP, formatMessage, LineReader, mentions, parseCTCP, parseMessage, plain, splitText,
} from '../../wsproxy/static/irc.js';
import { parseCommand, parseNames } from '../../wsproxy/static/irccommands.js';
import { IRCClient } from '../../wsproxy/static/ircclient.js';
import { seeded } from './fake.js';

const encode = (text) => new TextEncoder().encode(text);
const decode = (bytes) => new TextDecoder('utf-8', { fatal: true }).decode(bytes);
const sent = (client) => decode(client.take()).split('\r\n').slice(0, -1);
const lines = (...all) => encode(all.map((line) => `${line}\r\n`).join(''));

/** A client that the server has taken in as `ann`, in #a with @bob and +cy. */
function inRoom() {
    const client = new IRCClient({ nick: 'ann' });
    client.receive(lines(
        ':srv 001 ann :Welcome',
        ':ann!ann@host.example JOIN :#a',
        ':srv 353 ann = #a :@bob +cy ann',
        ':srv 366 ann #a :End',
    ));
    client.take();
    return client;
}

const messages = (events) => events.filter(({ type }) => type === 'message');

// -- irc.js

test('a line ends with CR LF, or what servers take for it; empty ones are none', () => {
    deepEqual(new LineReader().receive(encode('a b\r\nc\n\r\n\rd')), ['a b', 'c']);
});

test('a line is UTF-8, or where it is not, windows-1252', () => {
    deepEqual(new LineReader().receive(Uint8Array.of(...encode('ü€\n'), 0xfc, 10)), ['ü€', 'ü']);
});

test('a line without an end costs a bounded number of bytes', () => {
    const reader = new LineReader();
    reader.receive(new Uint8Array(100000).fill(65));
    equal(reader.receive(encode('\n'))[0].length, 8191 + 512);
});

test('a message has tags, a source, a command and parameters', () => {
    const { tags, source, command, params } = parseMessage('@time=1;note=a\\sb\\:c;x :n!u@h privmsg  #a :two words');
    deepEqual([...tags], [['time', '1'], ['note', 'a b;c'], ['x', '']]);
    deepEqual(source, { nick: 'n', user: 'u', host: 'h' });
    deepEqual([command, params], ['PRIVMSG', ['#a', 'two words']]);
});

test('each part but the command may be missing', () => {
    const nobody = { nick: '', user: '', host: '' };
    deepEqual(parseMessage('PING'), { tags: new Map(), source: nobody, command: 'PING', params: [] });
    deepEqual(parseMessage(':irc.example 001 :').params, ['']);
    deepEqual(parseMessage(':irc.example 001 a::b :c').params, ['a::b', 'c']);
    deepEqual(parseMessage(':n@h X').source, { nick: 'n', user: '', host: 'h' });
});

test('a message that is sent has one line, whatever is in its text', () => {
    equal(decode(formatMessage('PRIVMSG', '#a', 'x\r\nQUIT\0')), 'PRIVMSG #a :x QUIT \r\n');
    equal(decode(formatMessage('QUIT')), 'QUIT\r\n');
});

test('a name that would be two words, or none, is refused', () => {
    for (const name of ['a b', '', ':a', 'a\nQUIT', 'a\r']) {
        throws(() => formatMessage('PRIVMSG', name, 'x'), { name: 'RangeError', message: /^[^[{]+$/ });
    }
});

test('a message is at most 512 bytes long and never ends within a character', () => {
    for (let padding = 0; padding < 4; padding += 1) {
        const message = formatMessage('PRIVMSG', '#a', 'x'.repeat(padding) + '😀'.repeat(200));
        ok(message.length <= 512 && message.length > 508);
        doesNotThrow(() => decode(message));
    }
});

test('a text is cut into pieces that fit, between characters, after a space where one is near', () => {
    const random = seeded(3);
    for (let round = 0; round < 200; round += 1) {
        const text = Array.from({ length: 100 }, () => ['a', 'ü', '€', '😀', ' '][Math.floor(random() * 5)]).join('');
        const limit = 4 + Math.floor(random() * 60);
        const pieces = splitText(text, limit);
        equal(pieces.join(''), text);
        ok(pieces.every((piece) => encode(piece).length <= limit && piece.isWellFormed()));
    }
    deepEqual(splitText('one two three', 9), ['one two ', 'three']);
    deepEqual(splitText('a incomprehensible', 10), ['a incompre', 'hensible']);
    deepEqual(splitText('', 10), ['']);
});

test('an action is told from words', () => {
    deepEqual(parseCTCP('\x01ACTION waves at\x01'), { command: 'ACTION', text: 'waves at' });
    deepEqual(parseCTCP(formatCTCP('ACTION', '')), { command: 'ACTION', text: '' });
    deepEqual(parseCTCP('\x01version'), { command: 'VERSION', text: '' });
    equal(parseCTCP('words'), null);
});

test('formatting is taken out, and control characters are made visible', () => {
    equal(plain('\x02bold\x02 \x0304,12red\x03 \x1ditalic\x0f\x0312x\x04ff0000y'), 'bold red italicxy');
    equal(plain('a\x1b[31mb\tc'), 'a\ufffd[31mb\tc');
});

test('a nick is mentioned where it is a word', () => {
    ok(mentions('Ann: hello', 'ann') && mentions('hello, ann!', 'ann') && mentions('\x02ann', 'ann'));
    ok(!mentions('annual', 'ann') && !mentions('joann', 'ann') && !mentions('änn_', 'nn'));
    ok(mentions('a[b]: hi', 'a[b]') && !mentions('ab hi', 'a[b]'));
});

test('names are folded as the server folds them', () => {
    const features = new Features();
    equal(features.fold('A[]\\~Ü'), 'a{}|^Ü');
    features.learn(['CASEMAPPING=strict-rfc1459']);
    equal(features.fold('A[]\\~'), 'a{}|~');
    features.learn(['CASEMAPPING=ascii']);
    equal(features.fold('A[]\\~'), 'a[]\\~');
});

test('modes that mark users are found among the others', () => {
    const features = new Features();
    features.learn(['PREFIX=(qov)~@+', 'CHANMODES=b,k,l,mnt', 'CHANTYPES=#']);
    deepEqual(features.markings('+mbo-lv+lq', ['*!*@*', 'ann', 'bob', '10', 'cy']), [
        { isOn: true, mark: '@', nick: 'ann' },
        { isOn: false, mark: '+', nick: 'bob' },
        { isOn: true, mark: '~', nick: 'cy' },
    ]);
    deepEqual(features.splitMarks('~@ann'), { marks: '~@', nick: 'ann' });
    ok(features.isChannel('#a') && !features.isChannel('&a') && !features.isChannel(''));
});

// -- irccommands.js

test('what begins with no slash is said, and a second slash makes the first mean itself', () => {
    deepEqual(parseCommand('a /b'), { command: 'say', rest: 'a /b' });
    deepEqual(parseCommand('//a'), { command: 'say', rest: '/a' });
});

test('a command has its words', () => {
    deepEqual(parseCommand('/JOIN  #a,#b'), { command: 'join', rest: '#a,#b' });
    deepEqual(parseCommand('/part'), { command: 'part', rest: '' });
    deepEqual(parseNames(' #a,, #b '), ['#a', '#b']);
});

test('a command that lacks a word tells its usage, and is none', () => {
    const incomplete = {
        '/join': '/join #channel', '/join  , ': '/join #channel', '/nick ': '/nick name', '/me': '/me does',
        '/msg': '/msg nick text', '/msg bob': '/msg nick text', '/topic': '/topic text', '/raw': '/raw LINE',
    };
    for (const [text, usage] of Object.entries(incomplete)) {
        deepEqual(parseCommand(text), { command: 'error', rest: `Usage: ${usage}` });
    }
});

test('a command that does not exist is answered with those that do', () => {
    for (const name of ['dance', 'constructor', 'say', 'error']) {
        const { command, rest } = parseCommand(`/${name} x`);
        equal(command, 'error');
        ok(rest.includes(`no /${name}`) && rest.includes('/join #channel'));
    }
});

// -- ircclient.js

test('it introduces itself, and joins once it has been taken in', () => {
    const client = new IRCClient({ nick: 'ann', channels: ['#a', 'b'] });
    deepEqual(sent(client), ['NICK :ann', 'USER ann 0 * :ann']);
    equal(client.isRegistered, false);
    const [registered, welcome] = client.receive(lines(':srv 001 anna :Welcome'));
    deepEqual(registered, { type: 'registered' });
    equal(welcome.text, 'Welcome');
    equal(client.nick, 'anna');
    deepEqual(sent(client), ['JOIN :#a', 'JOIN :#b']);
});

test('what cannot be a nick is refused in words before anything is sent', () => {
    for (const nick of ['a b', 'bad nick!', 'a@b', 'a,b', 'a:', 'a*', 'what?', 'a\n']) {
        throws(() => new IRCClient({ nick }), { name: 'RangeError', message: /^"[^"[{]+" cannot be a nick: /u });
    }
    throws(() => new IRCClient({ nick: '' }), { message: 'A nick is missing.' });
    doesNotThrow(() => checkNick('[Ännchen]^_`{|}-1'));
    const client = inRoom();
    throws(() => client.changeNick('bad nick!'), RangeError);
    deepEqual(sent(client), []);
});

test('a nick that the server refuses is told in words, and another one can be tried before we are in', () => {
    const client = new IRCClient({ nick: '1st' });
    client.take();
    const [error, unnamed] = client.receive(lines(':srv 432 * 1st :Erroneous nickname'));
    deepEqual([error.kind, error.text], ['error', 'The server does not accept the nick "1st": Erroneous nickname.']);
    deepEqual(unnamed, { type: 'unnamed', text: error.text });
    client.changeNick('first');
    deepEqual([client.nick, sent(client)], ['first', ['NICK :first']]);
    deepEqual(inRoom().receive(lines(':srv 432 ann x :No')).map(({ type }) => type), ['message']);
});

test('words reach a person always, and a channel while we are in it', () => {
    const client = new IRCClient({ nick: 'ann' });
    equal(client.canSay('bob'), false);
    const member = inRoom();
    deepEqual(['#A', 'bob', '#b', ''].map((name) => member.canSay(name)), [true, true, false, false]);
    member.receive(lines(':ann!a@h PART #a'));
    equal(member.canSay('#a'), false);
});

test('PING is answered', () => {
    const client = inRoom();
    deepEqual(client.receive(lines('PING :a b')), []);
    deepEqual(sent(client), ['PONG :a b']);
});

test('a nick in use is varied within nine characters, and given up in the end', () => {
    const client = new IRCClient({ nick: 'alexander' });
    client.take();
    const tried = [];
    for (let count = 0; count < 20; count += 1) {
        client.receive(lines(`:srv 433 * ${client.nick} :Nickname is already in use`));
        tried.push(...sent(client));
    }
    deepEqual(tried.slice(0, 3), ['NICK :alexande_', 'NICK :alexand_2', 'NICK :alexand_3']);
    equal(new Set(tried).size, 10);
    ok(tried.every((line) => line.length <= 'NICK :'.length + 9));
});

test('a nick refused later is an error, and changes nothing', () => {
    const client = inRoom();
    client.changeNick('bob');
    client.take();
    const [error] = client.receive(lines(':srv 433 ann bob :Nickname is already in use'));
    deepEqual([error.kind, client.nick, sent(client)], ['error', 'ann', []]);
});

test('a room has its users, operators first', () => {
    deepEqual(inRoom().users('#A'), [{ nick: 'bob', mark: '@' }, { nick: 'cy', mark: '+' }, { nick: 'ann', mark: '' }]);
});

test('users come and go, and change their nicks and marks', () => {
    const client = inRoom();
    const nicks = () => client.users('#a').map(({ nick, mark }) => mark + nick).join(' ');
    client.receive(lines(':dan!d@h JOIN #a'));
    equal(nicks(), '@bob +cy ann dan');
    client.receive(lines(':bob!b@h MODE #a +o-v dan cy'));
    equal(nicks(), '@bob @dan ann cy');
    client.receive(lines(':BOB!b@h NICK :rob'));
    equal(nicks(), '@dan @rob ann cy');
    client.receive(lines(':rob!b@h PART #a :bye', ':srv KICK #a CY :why'));
    equal(nicks(), '@dan ann');
    const [told] = messages(client.receive(lines(':dan!d@h QUIT :gone')));
    deepEqual([told.room, told.text, nicks()], ['#a', 'dan quit: gone', 'ann']);
});

test('joining and leaving are told, also where others decide it', () => {
    const client = inRoom();
    deepEqual(client.receive(lines(':ann!a@h JOIN #b'))[0], { type: 'joined', room: '#b' });
    deepEqual(client.receive(lines(':ann!a@h PART #B')).at(-1), { type: 'parted', room: '#b' });
    deepEqual(client.receive(lines(':bob!b@h KICK #a ann :out')).at(-1), { type: 'parted', room: '#a' });
    equal(client.rooms.size, 0);
});

test('what is said appears in its room; what is said to us, in the room of who said it', () => {
    const [say, action, whisper, notice] = inRoom().receive(lines(
        ':bob!b@h PRIVMSG #A :hello all',
        ':bob!b@h PRIVMSG #a :\x01ACTION waves at Ann\x01',
        ':bob!b@h PRIVMSG ann :psst',
        ':srv NOTICE ann :be nice',
    ));
    deepEqual(say, { type: 'message', room: '#a', kind: 'say', from: 'bob', text: 'hello all', highlight: false });
    deepEqual([action.kind, action.text, action.highlight], ['action', 'waves at Ann', true]);
    deepEqual([whisper.room, whisper.highlight], ['bob', true]);
    deepEqual([notice.room, notice.kind], ['', 'notice']);
});

test('a CTCP request other than ACTION is told, and not answered', () => {
    const client = inRoom();
    equal(client.receive(lines(':bob!b@h PRIVMSG ann :\x01VERSION\x01'))[0].text, 'bob asks for VERSION');
    deepEqual(sent(client), []);
});

test('the topic is known', () => {
    const client = inRoom();
    client.receive(lines(':srv 332 ann #a :first'));
    equal(client.room('#a').topic, 'first');
    client.receive(lines(':bob!b@h TOPIC #a :second'));
    equal(client.room('#a').topic, 'second');
});

test('errors appear in the room they are about', () => {
    const [here, elsewhere] = inRoom().receive(lines(
        ':srv 404 ann #a :Cannot send',
        ':srv 403 ann #x :No such channel',
    ));
    deepEqual([here.room, here.kind, here.text], ['#a', 'error', '#a Cannot send']);
    deepEqual([elsewhere.room, elsewhere.kind], ['', 'error']);
});

test('what we say is shown as it is sent, in as many messages as others can receive whole', () => {
    const client = inRoom();
    const text = 'ü'.repeat(600);
    const shown = messages(client.say('#a', `${text}\nsecond line`));
    const parts = sent(client);
    equal(parts.length, shown.length);
    equal(shown.slice(0, -1).map((event) => event.text).join(''), text);
    equal(parts.at(-1), 'PRIVMSG #a :second line');
    ok(parts.every((part) => encode(`:ann!ann@host.example ${part}\r\n`).length <= 512));
});

test('an action is sent as CTCP', () => {
    const client = inRoom();
    equal(client.say('#a', 'waves', 'action')[0].kind, 'action');
    deepEqual(sent(client), ['PRIVMSG #a :\x01ACTION waves\x01']);
});

test('a line of the protocol can be sent as it is', () => {
    const client = inRoom();
    client.raw('TOPIC #a :new one');
    deepEqual(sent(client), ['TOPIC #a :new one']);
    throws(() => client.raw(''), RangeError);
});

test('no message of a server, however short of parameters, breaks it', () => {
    const client = inRoom();
    const commands = [
        'PING', 'JOIN', 'PART', 'KICK', 'QUIT', 'NICK', 'TOPIC', 'PRIVMSG', 'NOTICE', 'MODE', 'ERROR', 'PONG',
        '001', '005', '332', '353', '366', '404', '432', '433', '437', '999', 'constructor', '',
    ];
    for (const source of ['', ':', ':ann!a@h ', ':bob!b@h ']) {
        for (const command of commands) {
            for (const params of ['', ' :', ' #a', ' ann #a', ' ann = #a', ' #a +o', ' #a :\x01']) {
                doesNotThrow(() => client.receive(lines(source + command + params)), source + command + params);
            }
        }
    }
});

test('however the bytes are cut, events and answers are the same', () => {
    const random = seeded(11);
    const stream = lines(
        ':srv 433 * ann :in use', ':srv 001 ann_ :Willkommen, Ännchen', ':srv 005 ann_ CASEMAPPING=ascii :supported',
        ':ann_!a@h JOIN #a', ':srv 353 ann_ = #a :@bob ann_', ':srv 366 ann_ #a :End', 'PING :x',
        ':bob!b@h PRIVMSG #a :ann_: grüße 😀', ':bob!b@h QUIT :bye',
    );
    const whole = new IRCClient({ nick: 'ann' });
    const events = whole.receive(stream);
    const answers = sent(whole);
    for (let round = 0; round < 100; round += 1) {
        const client = new IRCClient({ nick: 'ann' });
        const got = [];
        for (let at = 0; at < stream.length;) {
            const end = at + 1 + Math.floor(random() * 9);
            got.push(...client.receive(stream.slice(at, end)));
            at = end;
        }
        deepEqual([got, sent(client)], [events, answers]);
    }
});
