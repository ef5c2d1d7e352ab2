"""The proxy's own page in a browser, and the certificate that a browser is shown."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.e2e.browser import openBrowser
from tests.e2e.proxy import certify, startProxy


def exchangeWith(text: str) -> str:
    """@return: an expression: what the page shows of the exchange, once C{text} is in it."""
    shown = "document.getElementById('exchange').textContent"
    return f"{shown}.includes({json.dumps(text)}) && {shown}"


class DemoPageTests(TestCase):
    """The page at /, with C{demo:} behind it."""

    timeout = 60.0

    async def test_http(self) -> None:
        """The page connects, shows the greeting, and each line that is typed with its answer."""
        await self.exchange("http")

    async def test_https(self) -> None:
        """Over TLS, on the same port, it is the same."""
        certificate = certify(Path(self.mktemp()).absolute(), "demo.test")
        await self.exchange("https", "--cert", str(certificate))

    async def exchange(self, scheme: str, *arguments: str) -> None:
        browser = openBrowser(self)
        proxy = await startProxy(self, "--target", "demo:", *arguments)

        page = await browser.open(proxy.url(scheme))
        self.assertEqual(page["status"], 200)
        self.assertIn("Hello!", await browser.until(exchangeWith("\n")))

        await browser.click("#line")
        await browser.type("Grüße <b>")
        await browser.press("Enter")
        *_, said, answer, rest = (await browser.until(exchangeWith("<b>\n1 "))).split("\n")
        self.assertEqual(said, "Grüße <b>")
        self.assertRegex(answer, r"^1 .* Grüße <b>$")
        self.assertEqual(rest, "")


class CertificateTests(TestCase):
    timeout = 60.0

    async def test_renewed(self) -> None:
        """A certificate renewed on disk is the one that the next page load is shown, and it connects."""
        browser = openBrowser(self)
        certificate = certify(Path(self.mktemp()).absolute(), "before.test")
        proxy = await startProxy(self, "--target", "demo:", "--cert", str(certificate))
        self.assertEqual((await browser.open(proxy.url("https")))["subject"], "before.test")

        certify(certificate, "after.test")
        self.assertEqual((await browser.open(proxy.url("https")))["subject"], "after.test")
        await browser.until(exchangeWith("Hello!"))
