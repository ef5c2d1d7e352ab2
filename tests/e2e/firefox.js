// Firefox, by Puppeteer, which speaks WebDriver BiDi with the program as it is.

import puppeteer from 'puppeteer-core';

import {asksBeforeItGoes, reload, unpack} from './page.js';

const LIGHT = 1;

export async function launch(executablePath) {
    const browser = await puppeteer.launch({
        browser: 'firefox',
        executablePath,
        headless: true,
        acceptInsecureCerts: true,
        // The protocol cannot say which scheme: all pages are light.
        extraPrefsFirefox: {'layout.css.prefers-color-scheme.content-override': LIGHT},
    });
    let context = null;
    let page = null;
    let complaints = [];

    const commands = {
        async open(url) {
            await context?.close();
            context = await browser.createBrowserContext();
            page = await context.newPage();
            complaints = [];
            page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
            page.on('pageerror', (error) => complaints.push(error.message));
            const response = await page.goto(url);
            return {status: response.status(), subject: null};
        },

        evaluate: (expression) => page.evaluate(expression),

        complaints: () => complaints,

        display: (width, height) => page.setViewport({width, height}),

        reload: () => reload(page),

        asksBeforeItGoes: () => asksBeforeItGoes(page),

        click: (selector) => page.click(selector),

        type: (text) => page.keyboard.type(text),

        // "Shift+F6": all but the last are held.
        async press(keys) {
            const held = keys.split('+').slice(0, -1);
            for (const key of held) {
                await page.keyboard.down(key);
            }
            await page.keyboard.press(keys.split('+').at(-1));
            for (const key of held.reverse()) {
                await page.keyboard.up(key);
            }
        },

        async screenshot(selector, path) {
            const element = await page.waitForSelector(selector);
            return unpack(await element.screenshot({path}), context);
        },
    };
    return {commands, close: () => browser.close()};
}
