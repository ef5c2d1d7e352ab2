// Chromium, by Playwright.

import {chromium} from 'playwright-core';

import {asksBeforeItGoes, reload, unpack} from './page.js';

export async function launch(executablePath) {
    const browser = await chromium.launch({
        executablePath,
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
    let context = null;
    let page = null;
    let session = null;
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
            session = await context.newCDPSession(page);
            await session.send('Performance.enable', {timeDomain: 'threadTicks'});
            complaints = [];
            page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
            page.on('pageerror', (error) => complaints.push(error.message));
            const response = await page.goto(url);
            const security = await response.securityDetails();
            return {status: response.status(), subject: security?.subjectName ?? null};
        },

        evaluate: (expression) => page.evaluate(expression),

        complaints: () => complaints,

        async display(width, height, colorScheme) {
            await page.setViewportSize({width, height});
            await page.emulateMedia({colorScheme});
        },

        reload: () => reload(page),

        asksBeforeItGoes: () => asksBeforeItGoes(page),

        // Seconds of the page's main thread since it was opened.
        async work() {
            const {metrics} = await session.send('Performance.getMetrics');
            return metrics.find(({name}) => name === 'TaskDuration').value;
        },

        click: (selector) => page.click(selector),

        // Forced, since what lies over the text of a terminal is there to be clicked.
        doubleClick: (selector) => page.dblclick(selector, {force: true}),

        type: (text) => page.keyboard.type(text),

        press: (key) => page.keyboard.press(key),

        screenshot: async (selector, path) => unpack(await page.locator(selector).screenshot({path}), context),
    };
    return {commands, close: () => browser.close()};
}
