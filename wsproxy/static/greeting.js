/**
 * What a server is, by the first thing it says, for pages that meet one of another protocol.
 *
 * @module
 */

const LENGTH = 48;

/** The first that matches is it. Each character is a byte. */
const GREETINGS = [
    ['a VNC server', /^RFB \d{3}\.\d{3}/],
    ['an SSH server', /^SSH-\d/],
    ['a web server', /^HTTP\/\d/],
    ['an IRC server', /^:\S+ (?:NOTICE|\d{3}) |^NOTICE AUTH /],
    ['a mail or FTP server', /^220[ -]/],
    ['a mail server', /^(?:\+OK|\* OK)\b/],
    // eslint-disable-next-line no-control-regex
    ['a TLS server', /^[\x15\x16]\x03[\0-\x04]/],
    ['a telnet server', /^\xff[\xfb-\xfe]/],
];

/** How many bytes tell a VNC server from all others. */
export const RFB_LENGTH = 4;

export function isRFB(bytes) {
    return String.fromCharCode(...bytes.subarray(0, RFB_LENGTH)) === 'RFB ';
}

/**
 * @param {Uint8Array} bytes the first ones
 * @returns {string} such as `It seems to be an SSH server: "SSH-2.0-OpenSSH_9.2"`
 */
export function describeGreeting(bytes) {
    const text = String.fromCharCode(...bytes.subarray(0, LENGTH));
    const [kind] = GREETINGS.find(([, pattern]) => pattern.test(text)) ?? ['another one'];
    const [line] = text.split(/[\r\n]/, 1);
    return /^[ -~]+$/.test(line) ? `It seems to be ${kind}: "${line}"` : `It seems to be ${kind}.`;
}
