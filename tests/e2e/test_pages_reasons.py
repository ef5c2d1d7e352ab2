"""What each page says of a server that it cannot reach, or should not have reached, and how that looks."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from tests.e2e.browser import Browser, openBrowser
from tests.e2e.proxy import startProxy
from tests.integration.twistd import startTwistd

STATUS = "document.getElementById('status').textContent"
STATE = "document.getElementById('status').dataset.state"
PAGES = {"wstelnet": "/wstelnet.html", "wsvnc": "/wsvnc.html", "wsirc": "/wsirc.html?nick=ann"}


def said(words: str) -> str:
    """@return: an expression: what the page says, once it says these words."""
    return f"{STATUS}.includes({json.dumps(words)}) && {STATUS}"


class ReasonTests(TestCase):
    timeout = 60.0

    async def everyPageSays(self, words: str, *arguments: str, isFinal: bool) -> None:
        """Before such a proxy each page fails with these words, and comes back only where that may help."""
        browser = openBrowser(self)
        proxy = await startProxy(self, *arguments)
        for name, path in PAGES.items():
            await browser.open(proxy.url("http", path))
            text = await browser.until(said(words))
            self.assertEqual(await browser.evaluate(STATE), "failed", name)
            comesBack = name != "wsvnc" and not isFinal
            self.assertEqual("Next attempt in" in text, comesBack, f"{name}: {text}")
            self.assertEqual(await browser.evaluate("document.getElementById('hangup').hidden"), not comesBack)
        await browser.open(proxy.url("http"))
        await browser.click("#connect")
        await browser.until(said(words))

    async def test_refused(self) -> None:
        """A port that nobody listens on may have a server soon."""
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            target = f"127.0.0.1:{deaf.getsockname()[1]}"
            await self.everyPageSays("Target refused the connection", "--target", target, isFinal=False)

    async def test_missingSocket(self) -> None:
        """So may a unix socket that is not there."""
        target = f"unix:{Path(self.mktemp()).absolute()}"
        await self.everyPageSays("Target unreachable", "--target", target, isFinal=False)

    async def test_unknownName(self) -> None:
        """A name that does not exist will not exist in a second."""
        target = "nobody.invalid:23"
        await self.everyPageSays("Target name not found", "--target", target, isFinal=True)

    async def test_forbidden(self) -> None:
        """The proxy's own refusal is told, though a browser hides it, and is final."""
        arguments = ("--target", "demo:", "--origin", "https://elsewhere.example")
        await self.everyPageSays("Refused: Origin not allowed. (403)", *arguments, isFinal=True)

    async def test_vanished(self) -> None:
        """A proxy that is gone is come back to; once it is there again the session goes on."""
        browser = openBrowser(self)
        proxy = await startProxy(self, "--target", "demo:")
        await browser.open(proxy.url("http", "/wstelnet.html"))
        await browser.until(said("Connected"))
        await proxy.process.stop()
        await browser.until(said("the proxy is not there. Next attempt in"))
        again = startTwistd(self, "--listen", f"127.0.0.1:{proxy.port}", "--target", "demo:")
        await again.line("Listening on ")
        await browser.until(said("Connected"))
        self.assertEqual(await browser.evaluate(STATE), "live")


class StrangerTests(TestCase):
    """The VNC page before servers of other protocols."""

    timeout = 60.0

    async def openDesktop(self, greeting: bytes) -> Browser:
        """@param greeting: what the server says to everybody, C{b""} for nothing."""

        class Server(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(greeting)

        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Server))
        self.addCleanup(port.stopListening)
        address = port.getHost()
        assert isinstance(address, IPv4Address)
        browser = openBrowser(self)
        proxy = await startProxy(self, "--target", f"127.0.0.1:{address.port}")
        await browser.open(proxy.url("http", "/wsvnc.html"))
        return browser

    async def test_another(self) -> None:
        """One that is not VNC is named by what it says."""
        browser = await self.openDesktop(b"SSH-2.0-Example\r\n")
        text = await browser.until(said("no VNC server"))
        self.assertEqual(text, 'This is no VNC server. It seems to be an SSH server: "SSH-2.0-Example"')
        self.assertEqual(await browser.until(f"{STATE} == 'failed' && {STATE}"), "failed")
        self.assertEqual(await browser.until(said("no VNC server")), text)

    async def test_silent(self) -> None:
        """One that waits to be spoken to, where VNC would speak, is told after a while."""
        browser = await self.openDesktop(b"")
        await browser.until(said("says nothing yet. Is it a VNC server?"))


CONTRAST = """(() => {
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    const luminance = (colour) => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((byte) => byte / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const of = (element) => {
        const ground = luminance(getComputedStyle(document.documentElement).backgroundColor);
        const text = luminance(getComputedStyle(element).color);
        return (Math.max(ground, text) + 0.05) / (Math.min(ground, text) + 0.05);
    };
    const looks = {};
    const status = document.getElementById('status');
    status.textContent = 'x';
    for (const state of ['idle', 'busy', 'live', 'failed']) {
        status.dataset.state = state;
        looks[state] = [
            of(status), getComputedStyle(status, '::before').content, getComputedStyle(status).color,
        ];
    }
    return looks;
})()"""


class LookTests(TestCase):
    timeout = 60.0

    async def test_states(self) -> None:
        """States differ by a sign, good and bad by colour, too, all of them legible (WCAG 2.1 AA), dark and light."""
        browser = openBrowser(self)
        proxy = await startProxy(self, "--target", "demo:")
        await browser.open(proxy.url("http", "/wsirc.html"))
        for scheme in ("dark", "light"):
            await browser.display(800, 600, scheme)
            looks = await browser.evaluate(CONTRAST)
            for state, (contrast, *_) in looks.items():
                self.assertGreaterEqual(contrast, 4.5, f"{scheme} {state}")
            self.assertEqual(len({sign for _, sign, _ in looks.values()}), 4)
            self.assertEqual(len({looks[state][2] for state in ("idle", "live", "failed")}), 3)

    async def test_cards(self) -> None:
        """The front page marks the page for its target, and those that cannot work with it."""
        browser = openBrowser(self)
        for target, fit, unfit in (
            ("127.0.0.1:5999", "VNC", ["Telnet", "IRC"]),
            ("127.0.0.1:6667", "IRC", ["VNC"]),
            ("127.0.0.1:80", "", []),
        ):
            proxy = await startProxy(self, "--target", target)
            await browser.open(proxy.url("http"))
            await browser.until("document.getElementById('target').textContent")
            cards = "[...document.querySelectorAll('#pages a')]"
            of = ".map((card) => card.firstChild.data.trim())"
            current = f"{cards}.filter((card) => card.getAttribute('aria-current')){of}.join()"
            self.assertEqual(await browser.evaluate(current), fit)
            faint = f"{cards}.filter((card) => card.innerText.includes('not with this target')){of}"
            self.assertEqual(await browser.evaluate(faint), unfit)
        await browser.screenshot("body", "cards")

    async def test_phone(self) -> None:
        """Where there is no Shift+F6, a button leaves the terminal."""
        browser = openBrowser(self)
        proxy = await startProxy(self, "--target", "demo:")
        await browser.open(proxy.url("http", "/wstelnet.html"))
        await browser.until(said("Connected"))
        shown = "['leave', 'keys'].map((id) => document.getElementById(id).checkVisibility())"
        await browser.display(1000, 640, "dark")
        self.assertEqual(await browser.evaluate(shown), [False, True])
        self.assertIn("Shift+F6", await browser.evaluate("document.getElementById('keys').innerText"))
        await browser.display(390, 700, "dark")
        self.assertEqual(await browser.evaluate(shown), [True, True])
        self.assertNotIn("Shift+F6", await browser.evaluate("document.getElementById('keys').innerText"))
        await browser.click("#terminal")
        await browser.screenshot("body", "telnet-phone-dark")
        await browser.click("#leave")
        self.assertEqual(await browser.evaluate("document.activeElement.id"), "hangup")

    async def test_leaving(self) -> None:
        """A page asks before it is closed while it is connected, and not otherwise."""
        browser = openBrowser(self)
        proxy = await startProxy(self, "--target", "demo:")
        await browser.open(proxy.url("http", "/wstelnet.html"))
        await browser.until(said("Connected"))
        await browser.click("#terminal")
        self.assertTrue(await browser.asksBeforeItGoes())
        await browser.type("bye\n")
        await browser.until(said("Target closed"))
        self.assertFalse(await browser.asksBeforeItGoes())
