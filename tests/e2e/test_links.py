"""What a browser makes of links: what is left in its address, and what it sends along with a WebSocket."""

from __future__ import annotations

import secrets
import time
from typing import Any
from urllib.parse import urlencode

import jwt as pyjwt
from twisted.trial.unittest import TestCase

from tests.e2e.browser import PAGES, openBrowser
from tests.e2e.proxy import startProxy

USED = "This link was good once, and has been used"


class LinkTests(TestCase):
    timeout = 60.0

    def setUp(self) -> None:
        self.key = secrets.token_hex(32)

    def link(self, page: str, **claims: Any) -> str:
        whole = {"target": "demo:", "sub": "alice", "exp": int(time.time()) + 600, **claims}
        return f"{page}?{urlencode({'token': pyjwt.encode(whole, self.key, 'HS256'), 'scale': 1})}"

    async def start(self, *arguments: str) -> Any:
        return await startProxy(self, "--link-key", "env:LINKS", *arguments, LINKS=self.key)

    async def test_cookie(self) -> None:
        """
        A page that is opened by a link has no token in its address and cannot read its cookie; its WebSocket opens with
        that, once for a link that is good once: Chromium, and Firefox.
        """
        for kind in ("chromium", "firefox"):
            browser = openBrowser(self, kind)
            proxy = await self.start("--web-auth", "--web", str(PAGES))
            path = self.link("/socket.html", once=True, iat=time.time())
            page = await browser.open(proxy.url("http", path))
            self.assertEqual(page["status"], 200, kind)
            self.assertEqual(await browser.evaluate("location.pathname + location.search"), "/socket.html?scale=1")
            self.assertEqual(await browser.evaluate("document.cookie"), "")
            self.assertEqual(await browser.evaluate("connect('binary')"), "binary", kind)
            self.assertEqual(await browser.evaluate("connect('binary').catch(() => 'failed')"), "failed")
            await browser.reload()
            self.assertEqual(await browser.evaluate("typeof connect"), "function")

    async def test_builtInPage(self) -> None:
        """A built-in page that everybody may see passes the token on, and says why it is good no longer."""
        browser = openBrowser(self)
        proxy = await self.start()
        path = self.link("/wstelnet.html", once=True, iat=time.time())
        await browser.open(proxy.url("http", path))
        await browser.until("document.body.textContent.includes('Connected')")
        await browser.reload()
        await browser.until(f"document.body.textContent.includes({USED!r})")
