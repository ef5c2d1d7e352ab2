// A Chromium that does what it is told: node driver.js CHROMIUM
//
// Each line on stdin is a JSON array, the name of a command and its arguments; each is answered in turn by one line
// on stdout, {"value": …} or {"error": "…"}. The end of stdin closes the browser.

import {createInterface} from 'node:readline';
import {setTimeout} from 'node:timers/promises';
import {chromium} from 'playwright-core';

const PATIENCE = 20_000;

const browser = await chromium.launch({
    executablePath: process.argv[2],
    headless: true,
    args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
    ],
});
process.stdin.once('end', () => browser.close());
let context = null;
let page = null;
let complaints = [];

const commands = {
    // A context of its own shares no connection, TLS session or cache with the one before.
    async open(url) {
        await context?.close();
        context = await browser.newContext({
            ignoreHTTPSErrors: true,
            permissions: ['clipboard-read', 'clipboard-write'],
        });
        page = await context.newPage();
        complaints = [];
        page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
        page.on('pageerror', (error) => complaints.push(error.message));
        const response = await page.goto(url);
        const security = await response.securityDetails();
        return {status: response.status(), subject: security?.subjectName ?? null};
    },

    evaluate: (expression) => page.evaluate(expression),

    // Asked from here each time: a page's content security policy may not let it evaluate a string by itself.
    async until(expression) {
        const deadline = Date.now() + PATIENCE;
        for (;;) {
            const value = await page.evaluate(expression);
            if (value) {
                return value;
            }
            if (Date.now() > deadline) {
                throw new Error(`${expression} is still ${value}`);
            }
            await setTimeout(20);
        }
    },

    complaints: () => complaints,

    async display(width, height, colorScheme) {
        await page.setViewportSize({width, height});
        await page.emulateMedia({colorScheme});
    },

    click: (selector) => page.click(selector),

    // Forced, since what lies over the text of a terminal is there to be clicked.
    doubleClick: (selector) => page.dblclick(selector, {force: true}),

    type: (text) => page.keyboard.type(text),

    press: (key) => page.keyboard.press(key),

    // The element as a PNG file, and its pixels: four bytes each, red, green, blue and alpha.
    async screenshot(selector, path) {
        const png = await page.locator(selector).screenshot({path});
        // Read elsewhere: the page's content security policy may not let it load the file again.
        const lab = await context.newPage();
        const picture = await lab.evaluate(async (source) => {
            const bitmap = await createImageBitmap(await (await fetch(source)).blob());
            const {width, height} = bitmap;
            const canvas = new OffscreenCanvas(width, height).getContext('2d');
            canvas.drawImage(bitmap, 0, 0);
            return {width, height, pixels: canvas.getImageData(0, 0, width, height).data};
        }, `data:image/png;base64,${png.toString('base64')}`);
        await lab.close();
        return {...picture, pixels: Buffer.from(picture.pixels).toString('base64')};
    },
};

for await (const line of createInterface({input: process.stdin})) {
    const [name, ...words] = JSON.parse(line);
    let answer;
    try {
        answer = {value: (await commands[name](...words)) ?? null};
    } catch (error) {
        answer = {error: error.message};
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
}
