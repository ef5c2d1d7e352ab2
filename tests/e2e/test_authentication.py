"""What a browser makes of names and passwords."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from tests.e2e.browser import PAGES, openBrowser
from tests.e2e.proxy import startProxy


class PasswordTests(TestCase):
    timeout = 60.0

    async def opened(self, kind: str, credentials: str, *arguments: str) -> tuple[Any, dict[str, Any]]:
        """A browser on a page whose user has said these credentials, and what it was told."""
        browser = openBrowser(self, kind)
        proxy = await startProxy(
            self,
            *("--target", "demo:", "--web", str(PAGES)),
            *("--auth-plugin", "BasicHTTPAuth", "--auth-source", "env:USERS", *arguments),
            USERS="alice:wonderland",
        )
        return browser, await browser.open(proxy.url("http", "/socket.html").replace("://", f"://{credentials}"))

    async def test_pageThenSocket(self) -> None:
        """Whoever is let in to a page is let in by its WebSocket, without being asked again: Chromium, and Firefox."""
        for kind in ("chromium", "firefox"):
            browser, page = await self.opened(kind, "alice:wonderland@", "--web-auth")
            self.assertEqual(page["status"], 200, kind)
            self.assertEqual(await browser.evaluate("connect('binary')"), "binary", kind)

    async def test_socketAlone(self) -> None:
        """For a WebSocket's sake nobody is asked: it fails."""
        browser, page = await self.opened("chromium", "")
        self.assertEqual(page["status"], 200)
        self.assertEqual(await browser.evaluate("connect('binary').catch(() => 'failed')"), "failed")
