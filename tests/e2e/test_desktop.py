"""The main job: a desktop in a browser. Xtigervnc, the proxy, noVNC served by it, Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.components import requireComponent
from tests.e2e.browser import NODE_MODULES, PAGES, openBrowser
from tests.e2e.desktop import ROOT_COLOUR, WINDOW_COLOUR, startDesktop
from tests.e2e.picture import Picture
from tests.e2e.proxy import certify, startProxy
from tests.integration.twistd import startTwistd
from tests.integration.wrapped import WrapTestCase
from tests.process.programs import running, until

PASSWORD = "sesame"
PATIENCE = 60.0
"""Seconds: more than the 30 that vncserver gives its server to be seen."""

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


async def eventually(picture: Callable[[], Awaitable[Picture]], isRight: Callable[[Picture], bool]) -> Picture:
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


class ScriptTests(WrapTestCase):
    """The recipe of docs/wrapping.rst: vncserver, as Debian has it, behind the port that it believes to have."""

    timeout = 120.0

    async def test_vncserver(self) -> None:
        """
        The script sees that its server has started, runs xstartup, whose window a browser shows, and is still content
        when its patience would be over; C{vncserver -kill} ends it.
        """
        vncserver = requireComponent("vncserver")
        browser = openBrowser(self)
        self.port = next(port for port in iter(self.freePort, 0) if not Path(f"/tmp/.X{port - 5900}-lock").exists())
        display, home = f":{self.port - 5900}", self.home()
        words = ["-rfbport", str(self.port), "-localhost", "no", "-geometry", "640x400"]
        options = ["--listen", str(self.port), "--wrap-mode", "ignore", "--web", str(webRoot(self))]
        proxy = startTwistd(self, *options, "--", vncserver, display, *words, HOME=home)
        pid = int((await proxy.line(r"listens on \S+ instead of port \d+ \(process (\d+)\)"))[1])
        began = reactor.seconds()

        await browser.open(f"http://127.0.0.1:{self.port}/desktop.html#{PASSWORD}")
        self.assertEqual(await browser.until(STATUS), "Connected to ws:")
        shown = await eventually(
            lambda: browser.screenshot("canvas", "vncserver"), lambda picture: picture.share(WINDOW_COLOUR) > 0.2
        )
        self.assertGreater(shown.share(WINDOW_COLOUR), 0.2)

        await deferLater(reactor, began + PATIENCE - reactor.seconds())
        self.assertEqual(await browser.until(STATUS), "Connected to ws:")
        kill = [vncserver, "-kill", display]
        await deferToThread(subprocess.run, kill, env={**os.environ, "HOME": home}, check=True, capture_output=True)
        await until(lambda: not running(pid))
        await browser.until("document.getElementById('status').textContent === 'Closed'")
        self.assertEqual((await proxy.stop()).status, 0)

    def home(self) -> str:
        """@return: the home of somebody with a VNC password, and a desktop of one window."""
        home = Path(self.mktemp()).absolute()
        folder = home / ".vnc"
        folder.mkdir(parents=True)
        password = subprocess.check_output([requireComponent("vncpasswd"), "-f"], input=f"{PASSWORD}\n".encode())
        (folder / "passwd").write_bytes(password)
        (folder / "passwd").chmod(0o600)
        xterm = requireComponent("xterm")
        look = f"-geometry 80x20+70+60 -fn fixed -bg '#{WINDOW_COLOUR:06x}' -fg white"
        (folder / "xstartup").write_text(f"#!/bin/sh\nexec {xterm} {look} -e sleep 3600\n")
        (folder / "xstartup").chmod(0o755)
        return str(home)
