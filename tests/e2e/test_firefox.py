"""The pages' main paths in Firefox, and what is different there: keys, forms that it fills in again, and Ctrl+W."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.components import require
from tests.e2e.browser import Browser, openBrowser
from tests.e2e.desktop import WINDOW_COLOUR, startDesktop
from tests.e2e.proxy import certify, startProxy
from tests.e2e.test_desktop import eventually
from tests.e2e.test_pages import exchangeWith
from tests.e2e.test_pages_irc import Talkers
from tests.e2e.test_pages_telnet import SHOWN, STATIC, seen, startTelnetd
from tests.e2e.test_websock import startEcho, webRoot

STATUS = "document.getElementById('status').textContent"
GRIN = "😀"
"""One character, of which Firefox makes two key presses."""


async def openPage(test: TestCase, path: str, *arguments: str) -> Browser:
    """@return: Firefox on a page of a proxy with these arguments."""
    require("npm packages in wsproxy/static/vendor", (STATIC / "vendor").exists)
    browser = openBrowser(test, "firefox")
    proxy = await startProxy(test, *arguments)
    await browser.open(proxy.url("https" if "--cert" in arguments else "http", path))
    return browser


class PageTests(TestCase):
    timeout = 60.0

    async def test_demo(self) -> None:
        """Over TLS, the landing page connects, and each line is answered; it may be left without a question."""
        certificate = certify(Path(self.mktemp()).absolute(), "firefox.test")
        browser = await openPage(self, "/", "--target", "demo:", "--cert", str(certificate))
        await browser.until(exchangeWith("Hello!"))
        await browser.click("#line")
        await browser.type(f"Grüße {GRIN}\n")
        self.assertRegex(await browser.until(exchangeWith(f"{GRIN}\n1 ")), rf"\n1 .* Grüße {GRIN}\n$")
        self.assertEqual(await browser.complaints(), [])
        self.assertFalse(await browser.asksBeforeItGoes())

    async def test_telnet(self) -> None:
        """Somebody logs in; a character of two key presses arrives whole; the page asks before it is closed."""
        browser = await openPage(self, "/wstelnet.html", "--target", await startTelnetd(self))
        await browser.display(1000, 640, "light")
        await browser.until(seen("login:$"))
        await browser.type("ann\n")
        await browser.until(seen("Password:$"))
        await browser.type("pässword\n")
        await browser.until(seen("ready>$"))
        await browser.type(f"printf {GRIN} | od -An -tx1\n")
        await browser.until(seen("f0 9f 98 80"))
        self.assertNotIn("\ufffd", await browser.evaluate(SHOWN))
        await browser.screenshot("body", "telnet-firefox")
        self.assertEqual(await browser.complaints(), [])
        self.assertTrue(await browser.asksBeforeItGoes())

    async def test_vnc(self) -> None:
        """A desktop is shown, and typed to; a character of two key presses is one keysym, also in the field."""
        desktop = await startDesktop(self)
        terminal = desktop.startTerminal(self)
        browser = await openPage(self, "/wsvnc.html", "--target", f"127.0.0.1:{desktop.port}")
        await browser.display(800, 640, "light")
        await browser.until(f"{STATUS}.startsWith('Connected to ')")
        shown = await eventually(
            lambda: browser.screenshot("body", "vnc-firefox"), lambda picture: picture.share(WINDOW_COLOUR) > 0.1
        )
        self.assertGreater(shown.share(WINDOW_COLOUR), 0.1)
        await browser.click("#screen canvas")
        await browser.type(f"keys{GRIN}")
        await browser.click("#typing")
        await browser.type(f"field{GRIN}\n")
        self.assertEqual(await terminal.typed(), f"keys{GRIN}field{GRIN}")
        self.assertEqual(await browser.complaints(), [])
        self.assertTrue(await browser.asksBeforeItGoes())

    async def test_clipboard(self) -> None:
        """The desktop's clipboard is not what a page that is loaded again begins with."""
        desktop = await startDesktop(self)
        browser = await openPage(self, "/wsvnc.html", "--target", f"127.0.0.1:{desktop.port}")
        await browser.until(f"{STATUS}.startsWith('Connected to ')")
        await browser.click("#keys summary")
        await browser.click("#clipboard")
        await browser.type("a secret")
        await browser.reload()
        await browser.until(f"{STATUS}.startsWith('Connected to ')")
        self.assertEqual(await browser.evaluate("document.getElementById('clipboard').value"), "")

    async def test_irc(self) -> None:
        """What is said in a channel is heard, both ways."""
        talkers = Talkers()
        browser = await openPage(self, "/wsirc.html?nick=ann&channel=%23room", "--target", await talkers.listen(self))
        await browser.until("document.getElementById('users').innerText.includes('bob')")
        talkers.present[0].say(f":bob!b@h PRIVMSG #room :grüße <b>{GRIN}")
        await browser.until(f"document.getElementById('log').innerText.includes('bob: grüße <b>{GRIN}')")
        await browser.click("#line")
        await browser.type(f"to you, too {GRIN}\n")
        await browser.until(f"document.getElementById('log').innerText.includes('ann: to you, too {GRIN}')")
        self.assertEqual(talkers.heard[-1], f"PRIVMSG #room :to you, too {GRIN}")
        self.assertEqual(await browser.complaints(), [])
        self.assertTrue(await browser.asksBeforeItGoes())

    async def test_refused(self) -> None:
        """The proxy's own refusal is told, though a browser hides it."""
        elsewhere = ("--origin", "https://elsewhere.example")
        browser = await openPage(self, "/wsvnc.html", "--target", "demo:", *elsewhere)
        said = await browser.until(f"{STATUS}.includes('403') && {STATUS}")
        self.assertEqual(said, "Refused: Origin not allowed. (403)")

    async def test_websock(self) -> None:
        """The suite of websock.js passes, with streams through a proxy."""
        browser = await openPage(
            self, "/tests/e2e/pages/suite.html", "--target", await startEcho(self), "--web", str(webRoot(self))
        )
        result = await browser.until("window.result")
        self.assertEqual(result["failed"], [])
        self.assertGreater(len(result["passed"]), 100)
