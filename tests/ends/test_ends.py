"""Every kind of end keeps the contract."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from twisted.internet.endpoints import UNIXServerEndpoint, clientFromString
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.filepath import FilePath
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.certificates import LOCAL, Authority
from tests.ends.contract import MEGABYTE, EndContract, HalfContract, Peer
from wsproxy.config import TLSConfig
from wsproxy.dialling.handshake import HandshakeFactory
from wsproxy.ends.end import End
from wsproxy.ends.pump import Pump
from wsproxy.ends.secureend import SecureEnd
from wsproxy.ends.securetransport import SecureTransport
from wsproxy.ends.socketend import SocketEnd
from wsproxy.ends.transport import TransportEnd
from wsproxy.tls.client import clientTLS
from wsproxy.tls.server import ServerTLS


class OverUNIX:
    """The connection is a unix socket."""

    async def listen(self: Any, reactor: Any, factory: Factory[Any]) -> str:
        path = self.mktemp()
        port = await UNIXServerEndpoint(reactor, path).listen(factory)
        self.addCleanup(port.stopListening)
        return f"unix:{path}"


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
class _Side:
    """Either side of TLS."""

    def __init__(self, server: Any, client: Any) -> None:
        self.serverConnectionForTLS = server.serverConnectionForTLS
        self.clientConnectionForTLS = client.clientConnectionForTLS


class OverTLS:
    """The connection is one of TLS, whose handshake is done."""

    halfCloses = False
    asks = False
    """Whether the end is the client of TLS, as that of a C{tls:} target is; whoever has connected is the other."""

    async def listen(self: Any, reactor: Any, factory: Factory[Any]) -> str:
        secured = TLSMemoryBIOFactory(self.side(), self.asks, HandshakeFactory(factory), reactor)
        secured.protocol = SecureTransport
        return await super().listen(reactor, secured)  # type: ignore[misc]  # a mixin

    async def connect(self: Any, reactor: Any, address: str, peer: Peer) -> None:
        factory = HandshakeFactory(Factory.forProtocol(lambda: peer))
        secured = TLSMemoryBIOFactory(self.side(), not self.asks, factory, reactor)
        transport = await clientFromString(reactor, address).connect(secured)
        await transport.wrappedProtocol.completed

    def side(self: Any) -> Any:
        """@return: what both sides have TLS of: of a server, and of a client that trusts it."""
        path = FilePath(self.mktemp())
        path.setContent(Authority().issue(*LOCAL).both)
        return _Side(ServerTLS(TLSConfig(path.path)), clientTLS("localhost", authorities=None, insecure=True))

    def endSocket(self, peer: Peer) -> None:
        peer.transport.transport.loseConnection()

    async def test_failsWhileCongested(self: Any) -> None:
        """A peer that garbles a record while it is behind is lost, once it has taken what it had been sent."""
        from twisted.internet import reactor

        end, recorder, peer = await self.pair()
        peer.transport.pauseProducing()
        while not end.congested:
            end.write([MEGABYTE])
        peer.transport.transport.write(b"\x17\x03\x03\x01\x00" + bytes(256))
        await deferLater(reactor, 0.1, lambda: None)
        peer.transport.resumeProducing()
        await recorder.when(lambda: "lost" in recorder.events)
        self.assertIsNotNone(recorder.error)


class Pumped:
    """The end's socket is pumped."""

    kind: type[Any] = SocketEnd

    def adopt(self: Any, end: TransportEnd) -> End:
        from twisted.internet import reactor

        adopted = Pump(reactor).adopt(end)
        self.assertIsInstance(adopted, self.kind)
        return adopted


class PumpedTLS(Pumped, OverTLS):
    """The end's socket is pumped, by OpenSSL."""

    kind = SecureEnd


class TransportOverTCPTests(HalfContract, TestCase):
    """A transport's end over TCP."""


class TransportOverUNIXTests(OverUNIX, HalfContract, TestCase):
    """A transport's end over a unix socket."""


class TransportOverTLSTests(OverTLS, EndContract, TestCase):
    """A transport's end over TLS."""


class PumpOverTCPTests(Pumped, HalfContract, TestCase):
    """A pumped TCP socket."""


class PumpOverUNIXTests(Pumped, OverUNIX, HalfContract, TestCase):
    """A pumped unix socket."""


class PumpOverTLSTests(PumpedTLS, EndContract, TestCase):
    """A pumped TCP socket that speaks TLS."""

    async def test_freed(self) -> None:
        """OpenSSL's memory is given back when the connection is over, without waiting for a garbage collection."""
        from twisted.internet import reactor

        gc.disable()
        self.addCleanup(gc.enable)
        for vanish in (False, True):
            end, recorder, peer = await self.pair()
            peer.transport.write(b"x")
            await recorder.when(lambda recorder=recorder: recorder.received)
            await deferLater(reactor, 0)  # type: ignore[arg-type]  # the reactor is a module to mypy
            connection = weakref.ref(end._connection)
            self.assertIsNotNone(connection())
            if vanish:
                peer.transport.abortConnection()
            else:
                peer.transport.loseConnection()
            await recorder.when(lambda recorder=recorder: "lost" in recorder.events)
            await deferLater(reactor, 0)  # type: ignore[arg-type]
            self.assertIsNone(connection())


class PumpAsTLSClientTests(PumpedTLS, EndContract, TestCase):
    """A pumped TCP socket that speaks TLS as a client does, to a target."""

    asks = True


class PumpOverTLSOverUNIXTests(PumpedTLS, OverUNIX, EndContract, TestCase):
    """A pumped unix socket that speaks TLS."""
