"""The VNC page with a real desktop behind the proxy, and what pages say whose npm packages are not there."""

from __future__ import annotations

import shutil
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.components import require
from tests.e2e.browser import openBrowser
from tests.e2e.desktop import WINDOW_COLOUR, startDesktop
from tests.e2e.proxy import startProxy
from tests.e2e.test_desktop import eventually
from tests.integration.twistd import ROOT

STATIC = ROOT / "wsproxy" / "static"
STATUS = "document.getElementById('status').textContent"


class VNCTests(TestCase):
    timeout = 60.0

    async def test_work(self) -> None:
        """The desktop is shown, and what is typed on a keyboard or into the field for phones reaches it."""
        require("npm packages in wsproxy/static/vendor", (STATIC / "vendor").exists)
        browser = openBrowser(self)
        desktop = await startDesktop(self)
        terminal = desktop.startTerminal(self)
        proxy = await startProxy(self, "--target", f"127.0.0.1:{desktop.port}")

        await browser.open(proxy.url("http", "/wsvnc.html"))
        await browser.display(800, 640, "dark")
        await browser.until(f"{STATUS}.startsWith('Connected to ')")
        shown = await eventually(
            lambda: browser.screenshot("body", "vnc-desk-dark"), lambda picture: picture.share(WINDOW_COLOUR) > 0.1
        )
        self.assertGreater(shown.share(WINDOW_COLOUR), 0.1)

        await browser.click("#screen canvas")
        await browser.type("keys,")
        await browser.press("Shift+F6")
        self.assertEqual(await browser.evaluate("document.activeElement.id"), "hangup")
        await browser.display(390, 700, "light")
        await browser.screenshot("body", "vnc-phone-light")
        await browser.click("#typing")
        await browser.type("fieldx")
        await browser.press("Backspace")
        await browser.press("Enter")
        self.assertEqual(await terminal.typed(), "keys,field")
        self.assertEqual(await browser.complaints(), [])

    async def test_password(self) -> None:
        """A wrong password is told, and the next one entered in its place; a third is not asked for."""
        require("npm packages in wsproxy/static/vendor", (STATIC / "vendor").exists)
        browser = openBrowser(self)
        desktop = await startDesktop(self, password="secret")
        proxy = await startProxy(self, "--target", f"127.0.0.1:{desktop.port}")
        asked = "document.activeElement.name == 'password' && document.getElementById('status').textContent"

        await browser.open(proxy.url("http", "/wsvnc.html"))
        self.assertEqual(await browser.until(asked), "The server asks who you are.")
        await browser.type("wrong\n")
        said = await browser.until(f"{STATUS}.includes('Try again') && {asked}")
        self.assertRegex(said, "^Refused: .*[Aa]uthentication fail.* Try again.$")
        await browser.display(800, 640, "light")
        await browser.screenshot("body", "vnc-password-light")
        await browser.type("secret\n")
        await browser.until(f"{STATUS}.startsWith('Connected to ')")
        self.assertFalse(await browser.evaluate("document.getElementById('credentials').checkVisibility()"))


class StrangerTests(TestCase):
    timeout = 60.0

    async def test_missing(self) -> None:
        """Where the npm packages were left out, the pages that need them say so, and the others work."""
        root = Path(self.mktemp()).absolute()
        shutil.copytree(STATIC, root, ignore=shutil.ignore_patterns("vendor"))
        browser = openBrowser(self)
        proxy = await startProxy(self, "--target", "demo:", "--web", str(root))
        for page, what in (("wstelnet", "xterm.js"), ("wsvnc", "noVNC")):
            await browser.open(proxy.url("http", f"/{page}.html"))
            self.assertIn(what, await browser.until(f"{STATUS}.includes('missing') && {STATUS}"))
            self.assertTrue(await browser.evaluate("document.getElementById('connect').disabled"))

    async def test_link(self) -> None:
        """A link to a page does not make it connect to another host before its user agrees."""
        browser = openBrowser(self)
        proxy = await startProxy(self, "--target", "demo:")
        await browser.open(proxy.url("http", "/wsirc.html?nick=ann&host=elsewhere.test&port=9"))
        self.assertIn("Connect to elsewhere.test?", await browser.until(STATUS))
        values = "[...document.getElementById('dial').elements].map((field) => field.value)"
        self.assertEqual(
            [value for value in await browser.evaluate(values) if value in ("elsewhere.test", "9", "ann")],
            ["ann", "elsewhere.test", "9"],
        )
