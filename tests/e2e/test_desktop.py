"""The main job: a desktop in a browser. Xtigervnc, the proxy, noVNC served by it, Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from .browser import NODE_MODULES, PAGES, openBrowser
from .desktop import ROOT_COLOUR, WINDOW_COLOUR, startDesktop
from .picture import Picture
from .proxy import certify, startProxy

STATUS = "(text => text != 'Connecting' && text)(document.getElementById('status').textContent)"
LINE = "Hello, Desktop! 6 * 7 = 42; {done}"
INK = 0.001
"""How much of the desktop C{LINE} covers, at least; the terminal's cursor is a third of that."""

ALIKE = 0.002
"""A difference that does not count: the mouse pointer, which either end draws in its own way."""


def webRoot(test: TestCase, noVNC: Path = NODE_MODULES / "@novnc" / "novnc") -> Path:
    """@return: a directory with noVNC and a page of ours that shows a desktop with it."""
    root = Path(test.mktemp()).absolute()
    shutil.copytree(PAGES, root)
    shutil.copytree(noVNC, root / "novnc")
    return root


async def eventually(
    picture: Callable[[], Awaitable[Picture]], isRight: Callable[[Picture], bool]
) -> Picture:
    """@return: the first picture that is right, or the last of a hundred that are not."""
    for _ in range(100):
        if isRight(shown := await picture()):
            break
        await deferLater(reactor, 0.05)
    return shown


class DesktopTests(TestCase):
    timeout = 60.0

    async def test_ws(self) -> None:
        """A page from the proxy shows the desktop behind it, and what is typed there reaches its programs."""
        await self.work("http", "ws")

    async def test_wss(self) -> None:
        """Over TLS, on the same port, it is the same."""
        certificate = certify(Path(self.mktemp()).absolute(), "desktop.test")
        await self.work("https", "wss", "--cert", str(certificate))

    async def work(self, pageScheme: str, scheme: str, *arguments: str) -> None:
        browser = openBrowser(self)
        desktop = await startDesktop(self)
        terminal = desktop.startTerminal(self)
        target = f"127.0.0.1:{desktop.port}"
        proxy = await startProxy(self, "--target", target, "--web", str(webRoot(self)), *arguments)

        def screenshot(name: str) -> Callable[[], Awaitable[Picture]]:
            return lambda: browser.screenshot("canvas", f"desktop-{scheme}-{name}")

        await browser.open(proxy.url(pageScheme, "/desktop.html"))
        self.assertEqual(await browser.until(STATUS), f"Connected to {scheme}:")

        real = await eventually(desktop.picture, lambda picture: picture.share(WINDOW_COLOUR) > 0.2)
        shown = await eventually(screenshot("before"), lambda picture: picture.difference(real) < ALIKE)
        self.assertLess(shown.difference(real), ALIKE)
        self.assertGreater(shown.share(ROOT_COLOUR), 0.2)
        window = shown.share(WINDOW_COLOUR)
        self.assertGreater(window, 0.2)

        await browser.click("canvas")
        await browser.type(LINE)
        written = window - INK
        shown = await eventually(screenshot("typed"), lambda picture: picture.share(WINDOW_COLOUR) < written)
        self.assertLess(shown.share(WINDOW_COLOUR), written)
        await browser.press("Enter")
        self.assertEqual(await terminal.typed(), LINE)

        shown = await eventually(screenshot("after"), lambda picture: not picture.share(WINDOW_COLOUR))
        self.assertEqual(shown.share(WINDOW_COLOUR), 0)
