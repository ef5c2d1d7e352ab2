// A browser that does what it is told: node driver.js chromium|firefox PROGRAM
//
// Each line on stdin is a JSON array, the name of a command and its arguments; each is answered in turn by one line
// on stdout, {"value": …} or {"error": "…"}. The end of stdin closes the browser.

import {createInterface} from 'node:readline';
import {setTimeout} from 'node:timers/promises';

const PATIENCE = 20_000;

const [kind, program] = process.argv.slice(2);
const {launch} = await import(`./${kind}.js`);
const {commands, close} = await launch(program);
process.stdin.once('end', close);

// Asked from here each time: a page's content security policy may not let it evaluate a string by itself.
async function until(expression) {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
        const value = await commands.evaluate(expression);
        if (value) {
            return value;
        }
        if (Date.now() > deadline) {
            throw new Error(`${expression} is still ${value}`);
        }
        await setTimeout(20);
    }
}

for await (const line of createInterface({input: process.stdin})) {
    const [name, ...words] = JSON.parse(line);
    let answer;
    try {
        answer = {value: (await {...commands, until}[name](...words)) ?? null};
    } catch (error) {
        answer = {error: error.message};
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
}
