"""Transports that are more than a socket: what cannot be pumped goes on through what it came by."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, serverFromString
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.threads import deferToThread
from twisted.python.filepath import FilePath
from twisted.trial.unittest import TestCase
from websockets.sync.client import ClientConnection, connect
from zope.interface import implementer

from tests.certificates import LOCAL, Authority, pem
from tests.integration.test_raw import AUTHORITY, LARGE, Server
from wsproxy.access.resolver import FixedResolver
from wsproxy.config import TLSConfig
from wsproxy.dialling.attempt import connectAddress
from wsproxy.factory import WebSockifyFactory
from wsproxy.interfaces import IDialer, Session, Target
from wsproxy.tls.server import ServerTLS

reactor: Any = _reactor


def echo(client: socket.socket) -> None:
    """A target that gives back what it gets."""
    while data := client.recv(65536):
        client.sendall(data)


def exchange(client: ClientConnection) -> bytes:
    """Send much to an L{echo}. @return: what came back."""
    got = bytearray()
    for at in range(0, len(LARGE), 300_000):
        client.send(LARGE[at : at + 300_000])
        while len(got) < min(at + 300_000, len(LARGE)):
            got += client.recv()  # type: ignore[arg-type]  # bytes, for we send no text
    return bytes(got)


class HAProxyTests(TestCase):
    """A C{haproxy:} endpoint puts the PROXY protocol's transport between the socket and us."""

    timeout = 30
    pump = True

    async def serve(self) -> None:
        target = Server(echo)
        self.addCleanup(target.close)
        certificate = FilePath(self.mktemp())
        certificate.setContent(AUTHORITY.issue(*LOCAL).both)
        factory = WebSockifyFactory(
            reactor,
            resolver=FixedResolver(Target(f"127.0.0.1:{target.port}")),
            tls=ServerTLS(TLSConfig(certificate.path)),
            raw=True,
            pump=self.pump,
        )
        listening = await serverFromString(reactor, "haproxy:tcp:0:interface=127.0.0.1").listen(factory)
        self.addCleanup(factory.closeAll)
        self.addCleanup(listening.stopListening)
        self.port = listening.getHost().port

    async def converse(self, conversation: Callable[[socket.socket], Any]) -> Any:
        def converse() -> Any:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
                client.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n")
                return conversation(client)

        return await deferToThread(converse)

    async def test_sessions(self) -> None:
        """Sessions of all kinds work through it: ws, wss and raw, with megabytes either way."""
        await self.serve()
        context = ssl.create_default_context(cadata=pem(AUTHORITY.certificate).decode())

        def raw(client: socket.socket) -> bytes:
            client.sendall(b"\0" + LARGE)
            got = bytearray()
            while len(got) <= len(LARGE):
                got += client.recv(1 << 20)
            return bytes(got)

        self.assertEqual(await self.converse(raw), b"\0" + LARGE)
        for scheme, tls in (("ws", None), ("wss", context)):

            def speak(client: socket.socket, scheme: str = scheme, tls: Any = tls) -> bytes:
                with connect(f"{scheme}://localhost:{self.port}/", sock=client, ssl=tls, compression=None) as web:
                    return exchange(web)

            self.assertEqual(await self.converse(speak), LARGE)


class UnpumpedHAProxyTests(HAProxyTests):
    """The same with pumping off."""

    pump = False


class StartTLS(Protocol):
    """Asks a target for TLS, and has C{upgraded} fire when it is on."""

    transport: Any

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory
        self.upgraded: Deferred[IProtocol] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(b"STARTTLS\n")

    def dataReceived(self, data: bytes) -> None:
        transport = self.transport
        transport.startTLS(CertificateOptions())
        protocol = self._factory.buildProtocol(transport.getPeer())
        assert protocol is not None
        transport.protocol.wrappedProtocol = protocol
        protocol.makeConnection(transport)
        self.upgraded.callback(protocol)


@implementer(IDialer)
class StartTLSDialer:
    """@param ours: connect as the proxy itself does, rather than as Twisted does."""

    def __init__(self, port: int, ours: bool) -> None:
        self._port = port
        self._ours = ours

    async def dial(self, session: Session, factory: IProtocolFactory) -> IProtocol:
        protocol = StartTLS(factory)
        if self._ours:
            building: Any = type("Building", (), {"buildProtocol": lambda self, address: protocol})()
            await connectAddress(reactor, "127.0.0.1", self._port, building, 10)
        else:
            await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", self._port), protocol)
        return await protocol.upgraded


class StartTLSTests(TestCase):
    timeout = 30

    async def test_sessions(self) -> None:
        """A dialer that has its target start TLS on the way gets a session over TLS."""
        authority = Authority()
        certificate = FilePath(self.mktemp())
        certificate.setContent(authority.issue(*LOCAL).both)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.path)

        def serve(client: socket.socket) -> None:
            assert client.recv(100) == b"STARTTLS\n"
            client.sendall(b"go on\n")
            with context.wrap_socket(client, server_side=True) as secured:
                echo(secured)

        for ours in (False, True):
            target = Server(serve)
            self.addCleanup(target.close)
            factory = WebSockifyFactory(
                reactor,
                resolver=FixedResolver(Target("anywhere:1")),
                dialer=StartTLSDialer(target.port, ours),  # type: ignore[arg-type]  # mypy-zope knows no coroutines
            )
            listening = reactor.listenTCP(0, factory, interface="127.0.0.1")
            self.addCleanup(factory.closeAll)
            self.addCleanup(listening.stopListening)
            port = listening.getHost().port

            def speak(port: int = port) -> bytes:
                with connect(f"ws://127.0.0.1:{port}/", compression=None) as client:
                    return exchange(client)

            self.assertEqual(await deferToThread(speak), LARGE)
