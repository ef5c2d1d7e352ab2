/**
 * What is typed into the IRC page: words for the room, or a command that begins with a slash.
 *
 * @module
 */

/** Each command's usage, and what its words must be. */
const COMMANDS = {
    join: { usage: '/join #channel', pattern: /[^ ,]/ },
    part: { usage: '/part [reason]' },
    nick: { usage: '/nick name', pattern: /\S/ },
    me: { usage: '/me does', pattern: /\S/ },
    msg: { usage: '/msg nick text', pattern: /^\S+ +\S/ },
    topic: { usage: '/topic text', pattern: /\S/ },
    quit: { usage: '/quit [reason]' },
    raw: { usage: '/raw LINE', pattern: /\S/ },
    help: { usage: '/help' },
};

export const HELP = Object.values(COMMANDS).map(({ usage }) => usage).join(', ');

/**
 * @param {string} text
 * @returns {{command: string, rest: string}} the command is 'say' for words, and 'error' where the rest says what is
 *     wrong with it.
 */
export function parseCommand(text) {
    const [, name, rest] = /^\/(\w+) *(.*)$/su.exec(text) ?? [];
    if (name === undefined) {
        // A second slash makes the first one mean itself.
        return { command: 'say', rest: text.replace(/^\/\//, '/') };
    }
    const command = name.toLowerCase();
    if (!Object.hasOwn(COMMANDS, command)) {
        return { command: 'error', rest: `There is no /${name}. There are: ${HELP}` };
    }
    const { usage, pattern = /^/ } = COMMANDS[command];
    return pattern.test(rest) ? { command, rest } : { command: 'error', rest: `Usage: ${usage}` };
}

/** @returns {string[]} the names in a list, parted by commas or spaces. */
export function parseNames(text) {
    return text.split(/[ ,]+/).filter((name) => name !== '');
}
