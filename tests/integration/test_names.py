"""Targets with a name, where name servers are slow: a real proxy, whose C{getaddrinfo} takes its time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from tests.integration.bridge import connect
from tests.integration.client import Client
from tests.integration.twistd import ROOT, Running, startTwistd

reactor: Any = _reactor

SLOW = """
import os, socket, time
getaddrinfo = socket.getaddrinfo
def slow(host, port, *how, **more):
    if host != 'slow.test':
        return getaddrinfo(host, port, *how, **more)
    os.write(1, b'looking up\\n')
    time.sleep({seconds})
    return getaddrinfo('127.0.0.1', port, *how, **more)
socket.getaddrinfo = slow
"""
"""A C{sitecustomize}, by which C{slow.test} is a name of this machine that takes time to look up."""


class Greeter(Protocol):
    def connectionMade(self) -> None:
        self.transport.write(b"hello")  # type: ignore[union-attr]


class SlowNameTests(TestCase):
    timeout = 60.0

    def proxy(self, target: str, seconds: float, *words: str) -> Running:
        """@param seconds: what a lookup takes."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        (folder / "sitecustomize.py").write_text(SLOW.format(seconds=seconds))
        words = ("--listen", "127.0.0.1:0", "--target", target, *words)
        return startTwistd(self, *words, PYTHONPATH=f"{folder}:{ROOT}")

    def target(self) -> int:
        """The port of one that greets."""
        port = reactor.listenTCP(0, Factory.forProtocol(Greeter), backlog=500, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def client(self, port: int) -> Client:
        client = Client(connect(port))
        self.assertEqual((await client.upgrade()).status, 101)
        return client

    async def greeted(self, port: int) -> None:
        """Open a session, hear the target, and leave."""
        client = await self.client(port)
        self.assertEqual(await client.exactly(5), b"hello")
        self.assertEqual((await client.leave())[0], 1000)

    async def test_together(self) -> None:
        """200 clients that come at once wait for one lookup, and no longer than it takes; those after them for none."""
        proxy = self.proxy(f"slow.test:{self.target()}", 1.0, "--connect-timeout", "6")
        port = int((await proxy.line(r"Listening on 127\.0\.0\.1:(\d+)"))[1])
        began = time.monotonic()
        await gatherResults([Deferred.fromCoroutine(self.greeted(port)) for _ in range(200)])
        self.assertLess(time.monotonic() - began, 8.0)  # it was 20: ten at a time
        await self.greeted(port)
        outcome = await proxy.stop()
        self.assertEqual((outcome.status, outcome.out.count("looking up")), (0, 1))

    async def test_hangs(self) -> None:
        """A lookup that never ends holds up neither the dial nor, by whatever target string, the end of the process."""
        for target, *words in (("slow.test:80",), ("tcp:host=slow.test:port=80",), ("slow.test:80", "--workers", "2")):
            proxy = self.proxy(target, 600.0, "--connect-timeout", "1", *words)
            port = int((await proxy.line(r"Listening on 127\.0\.0\.1:(\d+)"))[1])
            waiting = await self.client(port)
            await proxy.line("looking up")
            self.assertEqual(await waiting.rest(), (b"", (1011, "Target timed out")))
            waiting.stream.reset()
            began = time.monotonic()
            self.assertEqual((await proxy.stop()).status, 0)
            self.assertLess(time.monotonic() - began, 8.0)
