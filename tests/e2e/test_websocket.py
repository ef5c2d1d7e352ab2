"""A browser's own WebSocket: the messages it may send, and how it learns of the end."""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from collections.abc import Sequence
from functools import partial

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.e2e.browser import PAGES, Browser, openBrowser
from tests.e2e.proxy import Proxy, startProxy


class Target(Echo):
    """Gives back what it gets. C{left} fires when the client has left."""

    def __init__(self, left: Deferred[None]) -> None:
        self.left = left

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.left.callback(None)


async def openPage(test: TestCase, *arguments: str) -> tuple[Browser, Proxy]:
    """A browser on a page that can connect to a proxy with these arguments, and the proxy."""
    browser = openBrowser(test)
    proxy = await startProxy(test, "--web", str(PAGES), *arguments)
    await browser.open(proxy.url("http", "/socket.html"))
    return browser, proxy


class MessageTests(TestCase):
    """What C{new WebSocket} sends comes back from a target that echoes."""

    timeout = 60.0

    async def exchange(
        self, subprotocols: Sequence[str], messages: Sequence[str], length: int, *arguments: str
    ) -> dict[str, bytes]:
        """
        Connect, send these messages, wait for an echo of C{length} bytes, and leave.

        @return: what came back, by kind of message.
        """
        left: Deferred[None] = Deferred()
        factory = Factory.forProtocol(partial(Target, left))
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        address = port.getHost()
        assert isinstance(address, IPv4Address)
        browser, _ = await openPage(self, "--target", f"127.0.0.1:{address.port}", *arguments)
        agreed = await browser.evaluate(f"connect(...{json.dumps(subprotocols)})")
        self.assertEqual(agreed, "".join(subprotocols))

        await browser.evaluate(f"{json.dumps(messages)}.forEach((message) => socket.send(message))")
        got = await browser.until(f"received.text.length + received.binary.length >= {length} && received")
        await browser.evaluate("socket.close(1000)")
        self.assertEqual(await browser.until("ending"), {"code": 1000, "reason": "", "wasClean": True})
        await left
        return {kind: text.encode("latin-1") for kind, text in got.items()}

    async def test_base64(self) -> None:
        """Under C{base64} both directions are text messages, each of them complete base64."""
        parts = [bytes(range(256))[:length] for length in (1, 2, 3, 100, 256)]
        sent = b"".join(parts)
        got = await self.exchange(["base64"], [b64encode(part).decode() for part in parts], len(sent))
        self.assertEqual(got, {"text": sent, "binary": b""})

    async def test_text(self) -> None:
        """With C{--text}, text messages reach the target as UTF-8; what it says comes as binary messages."""
        messages = ["Grüße", ", ", "世界"]
        sent = "".join(messages).encode()
        got = await self.exchange([], messages, len(sent), "--text")
        self.assertEqual(got, {"text": b"", "binary": sent})


class CloseTests(TestCase):
    """What the page's C{CloseEvent} says."""

    timeout = 60.0

    async def test_targetRefused(self) -> None:
        """A target that refuses is 1011 with a reason that a person can read."""
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            browser, _ = await openPage(self, "--target", f"127.0.0.1:{deaf.getsockname()[1]}")
            await browser.evaluate("connect('binary')")
            closed = await browser.until("ending")
        self.assertEqual((closed["code"], closed["wasClean"]), (1011, True))
        self.assertRegex(closed["reason"], "refused")

    async def test_targetClosed(self) -> None:
        """A target that closes is 1000, after its last words."""
        browser, _ = await openPage(self, "--target", "demo:")
        await browser.evaluate("connect('binary')")
        await browser.evaluate("socket.send(new TextEncoder().encode('bye\\n'))")
        closed = await browser.until("ending")
        self.assertEqual(closed, {"code": 1000, "reason": "Target closed", "wasClean": True})
        self.assertTrue((await browser.evaluate("received.binary")).endswith("Goodbye.\n"))

    async def test_goingAway(self) -> None:
        """A proxy that is told to end is 1001, and ends with status 0."""
        browser, proxy = await openPage(self, "--target", "demo:")
        await browser.evaluate("connect('binary')")
        outcome = await proxy.process.stop()
        closed = await browser.until("ending")
        self.assertEqual((closed["code"], closed["wasClean"]), (1001, True))
        self.assertEqual(outcome.status, 0, outcome.err)
