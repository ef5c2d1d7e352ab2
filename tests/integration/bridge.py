"""A target that a test plays, a proxy that leads to it and is shared by a class's tests, and clients."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.certificates import LOCAL, Authority, pem
from tests.integration.client import Client
from tests.integration.proxy import Proxy, descriptors
from tests.integration.stream import Stream, Target, adopt

__all__ = ["Bridge", "BridgeTestCase", "authority", "connect", "still", "trusting"]

reactor: Any = _reactor


@cache
def authority() -> Authority:
    """Whom the tests' clients trust."""
    return Authority()


def trusting(**options: Any) -> Any:
    """The settings of a TLS client that trusts L{authority} about C{localhost}."""
    roots = trustRootFromCertificates([Certificate.loadPEM(pem(authority().certificate))])
    return optionsForClientTLS("localhost", trustRoot=roots, **options)


def connect(port: int, tls: Any = None, receiveBuffer: int | None = None) -> Stream:
    """
    @param tls: the settings of a TLS client, where it is to speak that.
    @param receiveBuffer: bytes that its kernel takes without its asking, roughly.
    """
    connection = socket.socket()
    if receiveBuffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receiveBuffer)
    connection.connect(("127.0.0.1", port))
    return adopt(connection, tls)


async def still(value: Callable[[], object]) -> None:
    """Wait until C{value} has been the same for half a second: nothing announces that nobody moves any more."""
    last, times = value(), 0
    while times < 5:
        await deferLater(reactor, 0.1, lambda: None)
        now = value()
        last, times = now, times + 1 if now == last else 0


class Bridge:
    """
    A listening socket for a target, and a proxy that leads there, whose temporary files go to C{tmp} in its folder.

    @param arguments: what the proxy is told beyond C{--target}.
    @param secure: give it a certificate for C{localhost}, in C{cert.pem} of its folder.
    """

    def __init__(self, arguments: tuple[str, ...], secure: bool) -> None:
        folder = Path(tempfile.mkdtemp(dir=".")).absolute()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        arguments = ("--target", f"127.0.0.1:{self.listener.getsockname()[1]}", *arguments)
        if secure:
            (folder / "cert.pem").write_bytes(authority().issue(*LOCAL).both)
            arguments += ("--cert", "cert.pem")
        (folder / "tmp").mkdir()
        self.proxy = Proxy(folder, *arguments, environment={"TMPDIR": str(folder / "tmp")})

    def close(self) -> None:
        self.proxy.kill()
        self.listener.close()


_bridges: dict[type, Bridge] = {}
"""That of the class whose tests are running."""


def _closeBridges() -> None:
    while _bridges:
        _bridges.popitem()[1].close()


reactor.addSystemEventTrigger("after", "shutdown", _closeBridges)


class BridgeTestCase(TestCase):
    """
    @cvar arguments: what the proxy is told beyond C{--target}.
    @cvar secure: whether clients come over TLS.
    @ivar proxy: the one of this class's tests.
    @ivar target: where it leads.
    """

    arguments: tuple[str, ...] = ()
    secure = False
    timeout = 30

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        if type(self) not in _bridges:
            _closeBridges()
            _bridges[type(self)] = Bridge(self.arguments, self.secure)
        bridge = _bridges[type(self)]
        self.proxy = bridge.proxy
        self.target = self.listen(bridge.listener)
        self.addCleanup(self.target.stop)
        self._streams: list[Stream] = []
        self.port = await self.proxy.port()
        self._since = len(self.proxy.lines)

    def listen(self, listener: socket.socket) -> Target:
        return Target(listener)

    async def tearDown(self) -> None:  # type: ignore[override]  # trial awaits it
        """Vanish."""
        streams = self._streams + self.target.streams
        for stream in streams:
            stream.reset()
        await gatherResults([Deferred.fromCoroutine(stream.gone()) for stream in streams])

    def connect(self, *, secure: bool | None = None, receiveBuffer: int | None = None) -> Stream:
        """
        A connection to the proxy.

        @param secure: whether over TLS, instead of C{self.secure}.
        """
        tls = trusting() if (self.secure if secure is None else secure) else None
        stream = connect(self.port, tls, receiveBuffer)
        self._streams.append(stream)
        return stream

    async def session(
        self, *offer: str, secure: bool | None = None, receiveBuffer: int | None = None
    ) -> tuple[Client, Stream]:
        """A client that was accepted, and its target."""
        client = Client(self.connect(secure=secure, receiveBuffer=receiveBuffer))
        response = await client.upgrade(offer=offer)
        self.assertEqual(response.status, 101, response)
        return client, await self.target.accept()

    async def ending(self, client: Client) -> str:
        """The closing line of this client's session, from C{closed by} on, once it has been written."""
        opened = await self.proxy.said(rf"([0-9a-f]{{8}}) 127\.0\.0\.1:{client.stream.port} → ", since=self._since)
        closed = await self.proxy.said(f"{opened[-1][1]} (closed by .*)", since=self._since)
        return closed[-1][1]

    async def settled(self) -> int:
        """
        Wait for the end of every session that has been opened in this test.

        @return: how many descriptors the proxy has then.
        @raise AssertionError: there are more closing lines than opening ones.
        """
        opened = sum(" → " in line for line in self.proxy.lines[self._since :])
        closed = await self.proxy.said(" closed by ", opened, self._since)
        self.assertEqual(len(closed), opened)
        return descriptors(self.proxy.pid)
