"""The suite of C{websock.js}, which node runs too, in a browser, with a real proxy for its streams."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.e2e.browser import openBrowser
from tests.e2e.proxy import startProxy
from tests.integration.twistd import ROOT

FOLDERS = ("tests/js", "tests/e2e/pages")
"""The tests and the page that imports them: they lie on the web as they do here."""


class Target(Echo):
    """Gives back what it gets, and ends with the test at the latest."""

    def __init__(self, test: TestCase) -> None:
        self._left: Deferred[None] = Deferred()
        test.addCleanup(self.end)

    def end(self) -> Deferred[None]:
        assert ITCPTransport.providedBy(self.transport)
        self.transport.abortConnection()
        return self._left

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._left.callback(None)


async def startEcho(test: TestCase) -> str:
    """@return: where it listens, as a target."""
    factory = Factory.forProtocol(partial(Target, test))
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    test.addCleanup(port.stopListening)
    address = port.getHost()
    assert isinstance(address, IPv4Address)
    return f"127.0.0.1:{address.port}"


def webRoot(test: TestCase) -> Path:
    """@return: a directory with L{FOLDERS}, without npm packages."""
    root = Path(test.mktemp()).absolute()
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("node_modules"))
    return root


class WebsockTests(TestCase):
    timeout = 60.0
    maxDiff = None

    async def test_suite(self) -> None:
        """Every test passes in a browser, those of streams through a proxy, too, by either subprotocol."""
        browser = openBrowser(self)
        proxy = await startProxy(self, "--target", await startEcho(self), "--web", str(webRoot(self)))
        await browser.open(proxy.url("http", "/tests/e2e/pages/suite.html"))
        self.assertEqual(await browser.complaints(), [])
        result = await browser.until("window.result")
        self.assertEqual(result["failed"], [])
        self.assertGreater(len(result["passed"]), 100)
        for protocol in ("binary", "base64"):
            self.assertTrue(any(name.startswith(f"proxy, {protocol}: ") for name in result["passed"]))
