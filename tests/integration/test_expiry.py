"""Access that ends, whatever the client does: real sockets, each way of relaying, each way of not going."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterator

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.certificates import LOCAL
from tests.integration.bridge import BridgeTestCase, authority
from tests.integration.client import Closed
from tests.integration.proxy import Proxy
from tests.integration.test_bounds import BoundsTestCase, Flood, deaf, slow, uploading
from wsproxy.sessions.session import ABORT_TIMEOUT, END_TIMEOUT

TIMEOUT = 1
BOUND = TIMEOUT + END_TIMEOUT + ABORT_TIMEOUT
SLACK = 1.5
"""Seconds that a busy machine may take."""


def mute(connection: socket.socket) -> None:
    """Read everything, and say nothing: not even a Close."""
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            time.sleep(0.01)  # what else there is to do on this machine is to be done, too


def dripping(connection: socket.socket) -> None:
    """Read a little, ever so slowly, and go on to write."""
    with contextlib.suppress(OSError):
        while connection.recv(1):
            connection.sendall(b"\x82\x81\0\0\0\0x")
            time.sleep(0.2)


class ExpiryTests(BoundsTestCase):
    def setUp(self) -> None:
        self.flood = Flood()
        self.addCleanup(self.flood.close)
        certificate = self.folder() / "cert.pem"
        certificate.write_bytes(authority().issue(*LOCAL).both)
        self.certified = ("--cert", str(certificate))

    def ways(self) -> Iterator[tuple[str, Proxy]]:
        words = ("--target", f"127.0.0.1:{self.flood.port}", "--session-timeout", str(TIMEOUT))
        for more in ((), ("--no-pump",), ("--workers", "2"), ("--record", str(self.folder() / "it"))):
            yield "ws", self.proxy(*words, *more)
        for more in ((), ("--no-pump",)):
            yield "wss", self.proxy(*words, *self.certified, *more)
        yield "raw", self.proxy(*words, "--raw", "--raw-after", "0.1")

    async def join(self, kind: str, proxy: Proxy, how: Callable[[socket.socket], None]) -> None:
        if kind == "raw":
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.connect(("127.0.0.1", await proxy.port()))
            self.addCleanup(connection.close)
            await deferToThread(connection.recv, 1)
        else:
            connection = await self.open(proxy, kind == "wss")
        self.behave(connection, how)

    async def test_anybody(self) -> None:
        """
        Whether they read slowly, hardly, not at all, or write without end, or never answer; over ws, wss and plain TCP,
        pumped or not, by a worker or recorded: after the time and the bound they are gone, and it is said why.
        """
        ways, behaviours = list(self.ways()), (mute, deaf, slow, dripping, uploading)
        for kind, proxy in ways:
            for how in behaviours:
                await self.join(kind, proxy, how)

        async def assertEnded(kind: str, proxy: Proxy) -> None:
            lines = await proxy.said("closed by ", len(behaviours))
            for line in lines:
                told = re.search(r"closed by proxy: 4001 Session timeout; ([0-9.]+) s", line.string)
                self.assertIsNotNone(told, f"{kind}: {line.string}")
                assert told is not None
                self.assertGreaterEqual(float(told[1]), TIMEOUT)
                self.assertLess(float(told[1]), BOUND + SLACK, f"{kind}: {line.string}")

        await gatherResults([Deferred.fromCoroutine(assertEnded(*way)) for way in ways], consumeErrors=True)


class IdleTests(BridgeTestCase):
    """Silence, of which pings and their answers are a part."""

    arguments = ("--session-idle-timeout", "1", "--heartbeat", "0.2")

    async def test_silent(self) -> None:
        """A client that answers each ping and says nothing else is closed; one that is talked to is not."""
        client, _ = await self.session()
        closing = Deferred.fromCoroutine(client.some())  # and answers pings meanwhile
        talking, target = await self.session()
        began = time.monotonic()
        while time.monotonic() - began < 2.5:
            target.write(b"tick")
            self.assertEqual(await talking.some(), b"tick")
            await deferLater(reactor, 0.1, lambda: None)
        closed = await self.assertFailure(closing, Closed)
        self.assertEqual(closed.told, (4001, "Idle too long"))
        self.assertGreater(client.pings, 2)
        talking.send(b"still here")
        self.assertEqual(await target.until(b"here"), b"still here")


class UnpumpedIdleTests(IdleTests):
    arguments = (*IdleTests.arguments, "--no-pump")


class SecureIdleTests(IdleTests):
    secure = True
