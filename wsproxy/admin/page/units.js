/**
 * Numbers for people.
 *
 * @module
 */

const SIZES = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Bytes, in steps of a thousand, with three digits. */
export function size(bytes) {
    let step = 0;
    while (bytes >= 999.5 && step < SIZES.length - 1) {
        bytes /= 1000;
        step += 1;
    }
    return `${step === 0 ? Math.round(bytes) : Number(bytes.toPrecision(3))} ${SIZES[step]}`;
}

/** Bytes a second. */
export function rate(bytes) {
    return `${size(bytes)}/s`;
}

/** Seconds, by the two largest units that are not over. */
export function age(seconds) {
    const whole = Math.floor(seconds);
    const [days, hours] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24];
    const minutes = Math.floor(whole / 60) % 60;
    if (days) {
        return `${days} d ${hours} h`;
    }
    if (hours) {
        return `${hours} h ${minutes} min`;
    }
    return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

/** A short time, in milliseconds. */
export function trip(seconds) {
    return seconds === null ? '–' : `${Number((seconds * 1000).toPrecision(3))} ms`;
}
