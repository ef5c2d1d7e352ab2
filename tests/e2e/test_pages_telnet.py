"""The telnet page with a real telnetd behind the proxy: somebody logs in and works."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.components import require, requireComponent
from tests.e2e.browser import Browser, openBrowser
from tests.e2e.proxy import startProxy
from tests.integration.twistd import ROOT, start

STATIC = ROOT / "wsproxy" / "static"
PHONE = (390, 700)
DESK = (1000, 640)

LOGIN = """#!/bin/sh
printf 'login: '; read -r name
stty -echo; printf 'Password: '; read -r password; stty echo; echo
[ "$name:$password" = 'ann:pässword' ] || { echo 'Login incorrect'; exit 1; }
echo "Welcome, $name, to a $TERM"
export PS1='ready> '
exec sh -i
"""
ROWS = "document.querySelector('.xterm-rows').children.length"
SHOWN = "(document.querySelector('.xterm-rows')?.innerText ?? '').replaceAll('\\u00a0', ' ')"


def seen(pattern: str) -> str:
    """@return: an expression: the match of a regular expression in the terminal."""
    return f"{SHOWN}.trimEnd().match(new RegExp({json.dumps(pattern)}, 'u'))"


async def startTelnetd(test: TestCase) -> str:
    """A telnetd with a login program of ours. @return: where it listens, as a target."""
    login = Path(test.mktemp()).absolute()
    login.write_text(LOGIN)
    login.chmod(0o755)
    # It does not start without a certificate, with an RSA key; the system's is root's.
    certificate = Path(test.mktemp()).absolute()
    request = f"req -x509 -newkey rsa:2048 -nodes -subj /CN=telnet.test -keyout {certificate} -out {certificate}"
    subprocess.run([requireComponent("openssl"), *request.split()], check=True, capture_output=True)
    telnetd = requireComponent("in.telnetd", "/usr/sbin/in.telnetd")
    serve = f"EXEC:{telnetd} -N -h -z cert={certificate} -z key={certificate} -L {login},nofork"
    command = [requireComponent("socat"), "-d", "-d", "TCP-LISTEN:0,bind=127.0.0.1,fork", serve]
    listening = await start(test, command).line(r"listening on AF=2 127\.0\.0\.1:(\d+)")
    return f"127.0.0.1:{listening[1]}"


async def openTerminal(test: TestCase, target: str, query: str = "") -> Browser:
    require("npm packages in wsproxy/static/vendor", (STATIC / "vendor").exists)
    browser = openBrowser(test)
    proxy = await startProxy(test, "--target", target)
    await browser.open(proxy.url("http", f"/wstelnet.html{query}"))
    return browser


class TelnetTests(TestCase):
    timeout = 60.0

    async def logIn(self, browser: Browser) -> None:
        await browser.until(seen("login:$"))
        await browser.type("ann\n")
        await browser.until(seen("Password:$"))
        await browser.type("pässword\n")
        await browser.until(seen("ready>$"))

    async def enter(self, browser: Browser, line: str, pattern: str) -> str:
        """Type a line. @return: the first match for C{pattern} that the terminal shows then."""
        await browser.type(f"{line}\n")
        [found, *_] = await browser.until(seen(pattern))
        return str(found)

    async def test_work(self) -> None:
        """Log in, be known as xterm-256color, see 24-bit colour, write and read UTF-8, log out, come back."""
        browser = await openTerminal(self, await startTelnetd(self))
        await browser.display(*DESK, "dark")
        await self.logIn(browser)
        self.assertTrue(await browser.evaluate(seen("Welcome, ann, to a xterm-256color")))
        self.assertFalse(await browser.evaluate(seen("pässword")))

        await self.enter(browser, "printf ü€😀 | od -An -tx1", "c3 bc e2 82 ac f0 9f 98 80")
        await self.enter(browser, r"printf '<\303\274\360\237\230\200>\n'", "<ü😀>")
        await self.enter(browser, r"printf '\033[48;2;18;52;86m%200s\033[0m\n' end", " end\n")
        picture = await browser.screenshot("#terminal", "telnet-colour")
        self.assertGreater(picture.share(0x123456), 0.02)

        await browser.type("exit\n")
        await browser.until("document.getElementById('status').textContent.includes('Target closed')")
        await browser.press("Enter")
        await self.logIn(browser)
        self.assertEqual(await browser.complaints(), [])

    async def test_copyAndPaste(self) -> None:
        """A word that is selected and copied is typed where it is pasted, by keys as by the buttons."""
        browser = await openTerminal(self, await startTelnetd(self))
        await browser.display(*DESK, "dark")
        await self.logIn(browser)
        await self.enter(browser, "clear; echo one-word-in-the-middle-of-it", "^one-word[^]*ready>$")
        await browser.doubleClick(".xterm-rows > div:nth-child(1) > span")
        await browser.click("#copy")
        await browser.until("navigator.clipboard.readText()")
        await browser.click("#paste")
        await browser.until(seen("ready> one-word-in-the-middle-of-it$"))
        await browser.evaluate("navigator.clipboard.writeText('')")
        await browser.doubleClick(".xterm-rows > div:nth-child(1) > span")
        await browser.press("Control+Shift+KeyC")
        await browser.until("navigator.clipboard.readText()")
        await browser.press("Control+Shift+KeyV")
        await browser.until(seen("ready> (one-word-in-the-middle-of-it){2}$"))
        self.assertEqual(await browser.complaints(), [])

    async def test_size(self) -> None:
        """The server knows the size of the terminal, and learns of a new one while a program runs."""
        browser = await openTerminal(self, await startTelnetd(self))
        await browser.display(*DESK, "light")
        await self.logIn(browser)
        await self.enter(browser, "stty size", rf"\n{await browser.evaluate(ROWS)} 1\d\d\n")
        program = "trap 'stty size' WINCH; echo waiting; while :; do sleep 0.1; done"
        await self.enter(browser, f'sh -c "{program}"', "\nwaiting$")
        await browser.display(*PHONE, "light")
        await browser.until(f"{SHOWN}.match(`\\n${{{ROWS}}} [45]\\\\d`)")

    async def test_top(self) -> None:
        """A program that fills the screen does so, and leaves it as it was."""
        requireComponent("top")
        browser = await openTerminal(self, await startTelnetd(self))
        await browser.display(*PHONE, "light")
        await self.logIn(browser)
        await self.enter(browser, "top", r"PID +USER[^]*\n *\d+ ")
        await browser.screenshot("body", "telnet-top-phone-light")
        await browser.type("q")
        await browser.until(seen("ready>$"))  # what is typed before that is lost
        await self.enter(browser, "echo $((6*7))", "\n42\n")
        self.assertEqual(await browser.complaints(), [])
