"""The page of the admin side, in a browser."""

from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.e2e.browser import Browser, openBrowser
from tests.integration.proxy import Proxy
from tests.integration.test_work import REQUEST

TOKEN = "token-of-an-operator"

ROWS = "[...document.querySelectorAll('#sessions tbody tr')]"


class AdminPageTests(TestCase):
    timeout = 90.0

    async def show(self, browser: Browser, sessions: int) -> list[socket.socket]:
        """The page with so many sessions, the token shown."""
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        proxy = Proxy(folder, "--target", "demo:", "--admin", "127.0.0.1:0", "--admin-token", TOKEN)
        self.addCleanup(proxy.stop)
        [listening] = await proxy.said(r"Listening on 127\.0\.0\.1:(\d+)")
        self.port = int(listening[1])
        [found] = await proxy.said(r"Admin at 127\.0\.0\.1:(\d+)")
        clients = [await deferToThread(self.connect) for _ in range(sessions)]
        await proxy.said("→ demo:", sessions)
        await browser.open(f"http://127.0.0.1:{found[1]}/")
        await browser.until("!document.getElementById('access').hidden")
        await browser.type(TOKEN)
        await browser.press("Enter")
        await browser.until(f"{ROWS}.length === {sessions}")
        return clients

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), 20)
        self.addCleanup(client.close)
        client.sendall(REQUEST % b"http")
        while not client.recv(4096).startswith(b"HTTP/1.1 101 "):
            raise AssertionError("refused")
        return client

    async def cell(self, browser: Browser, row: int, column: int) -> Any:
        return await browser.evaluate(f"{ROWS}[{row}].cells[{column}].textContent")

    async def test_table(self) -> None:
        """Behind the token there is a live table, which can be filtered and sorted; nothing is refused or thrown."""
        browser = openBrowser(self)
        [client, _, _] = await self.show(browser, 3)
        client.sendall(b"\x82\x85\0\0\0\0abcd\n")
        await browser.until(f"{ROWS}.some((row) => row.cells[6].textContent === '5 B')")
        name = f"127.0.0.1:{client.getsockname()[1]}"
        await browser.press("/")
        await browser.type(name)
        await browser.until(f"{ROWS}.length === 1 && document.getElementById('shown').textContent === '1 found'")
        self.assertEqual(await self.cell(browser, 0, 1), name)
        self.assertEqual(await self.cell(browser, 0, 3), "demo:")
        await browser.evaluate("document.getElementById('filter').select()")
        await browser.press("Backspace")
        await browser.until(f"{ROWS}.length === 3")
        await browser.click("#sessions th:nth-child(7) button")
        await browser.click("#sessions th:nth-child(7) button")
        await browser.until(f"{ROWS}[0].cells[6].textContent === '5 B'")
        self.assertEqual(await browser.evaluate("document.querySelectorAll('#graphs svg').length"), 5)
        denied = [each for each in await browser.complaints() if "401" not in each]
        self.assertEqual(denied, [])
        self.assertEqual(await browser.evaluate("document.cookie"), "")

    async def test_closes(self) -> None:
        """By keyboard alone a session is chosen and closed, with the reason that was typed; the others stay."""
        browser = openBrowser(self)
        clients = await self.show(browser, 2)
        await browser.press("/")
        await browser.press("ArrowDown")
        await browser.press("ArrowDown")
        chosen = await browser.evaluate("document.activeElement.closest('tr').cells[1].textContent")
        await browser.press("Delete")
        await browser.until("document.getElementById('closing').open")
        await browser.click("#reason")
        await browser.type("Lunch")
        await browser.press("Tab")
        await browser.press("Tab")
        await browser.press("Enter")
        by = {f"127.0.0.1:{client.getsockname()[1]}": client for client in clients}
        said = b""
        while b"Lunch" not in said:
            part = await deferToThread(by[chosen].recv, 4096)
            self.assertTrue(part)
            said += part
        self.assertIn(b"\x88\x07\x0f\xa1Lunch", said)  # 4001
        by[chosen].close()
        await browser.until(f"{ROWS}.length === 1")
        [other] = set(by) - {chosen}
        self.assertEqual(await self.cell(browser, 0, 1), other)

    async def test_denied(self) -> None:
        """A wrong token shows nothing, and says so."""
        browser = openBrowser(self)
        await self.show(browser, 0)
        await browser.evaluate("sessionStorage.setItem('wsproxy-admin-token', 'wrong')")
        await browser.until("document.getElementById('denied').textContent === 'Wrong token'")
        self.assertTrue(await browser.evaluate("document.getElementById('content').hidden"))

    async def test_schemes(self) -> None:
        """Dark and light, words can be read: as WCAG wants it, 4.5 to 1."""
        browser = openBrowser(self)
        await self.show(browser, 1)
        for scheme in ("dark", "light"):
            await browser.display(1000, 700, scheme)
            for selector in ("#sessions td", "#keys", "#state", "th button"):
                self.assertGreater(await browser.evaluate(_CONTRAST % json.dumps(selector)), 4.5, (scheme, selector))


_CONTRAST = """(() => {
    const light = (text) => {
        const [r, g, b] = text.match(/[\\d.]+/g).map((each) => each / 255).map(
            (each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const words = light(getComputedStyle(document.querySelector(%s)).color);
    const ground = light(getComputedStyle(document.documentElement).backgroundColor);
    return (Math.max(words, ground) + 0.05) / (Math.min(words, ground) + 0.05);
})()"""
