"""The whole of it over real sockets: what only a kernel can show."""

from __future__ import annotations

import gc
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    UNIXServerEndpoint,
    clientFromString,
    serverFromString,
    wrapClientTLS,
)
from twisted.internet.protocol import Factory
from twisted.internet.ssl import PrivateCertificate, optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from tests.certificates import selfSigned
from tests.ends.contract import MEGABYTE, Peer
from tests.ends.fake import Message, messages
from tests.frontend.connection import responses
from tests.peer import WebSocketPeer, connect, openWebSocket
from tests.tunnel.client import Frame
from wsproxy.ends.end import Buffer
from wsproxy.errors import Refusal
from wsproxy.factory import WebSockifyFactory
from wsproxy.interfaces import IAuthenticator, Identity, IResolver, Request, Target
from wsproxy.wire.frames import BINARY, CLOSE, PING, PONG

CERTIFICATE = PrivateCertificate.loadPEM(selfSigned("localhost").both)

BOUND = 256 * 1024
"""What a session may hold beyond the kernel's buffers. A unix socket's do not grow."""

KERNEL = int(Path("/proc/sys/net/core/wmem_default").read_text())

LARGE = b"\x82\xff" + len(MEGABYTE).to_bytes(8, "big") + bytes(4) + MEGABYTE
"""A binary message of 1 MiB, masked with zeros."""


@implementer(IResolver)
class Resolver:
    def __init__(self, target: str) -> None:
        self.target = Target(target)

    def resolve(self, request: Request, identity: Identity | None) -> Target:
        return self.target


class Watch:
    """A tap that counts what the tunnel has taken from either side."""

    def __init__(self) -> None:
        self.fromTargetSize = self.fromClientSize = 0

    def fromClient(self, payload: Sequence[Buffer], partial: bool) -> None:
        self.fromClientSize += sum(map(len, payload))

    def toTarget(self, congested: bool) -> None: ...

    def fromTarget(self, data: Buffer) -> None:
        self.fromTargetSize += len(data)

    def toClient(self, congested: bool) -> None: ...

    def close(self) -> None: ...


class WholeTestCase(TestCase):
    """A proxy between a client and a target, pumped; subclasses go other ways."""

    overUNIX = False
    pump = True
    secure = False
    timeout = 8.0

    def setUp(self) -> Any:
        return Deferred.fromCoroutine(self.arrange())

    async def arrange(self) -> None:
        from twisted.internet import reactor

        self.targets: list[Peer] = []
        self.came: Deferred[Peer] = Deferred()
        self.watch = Watch()
        self.factory = self.makeFactory(await self.listen(reactor, Factory.forProtocol(self.makeTarget)))
        self.address: Any = await self.listen(reactor, self.factory)
        self.addCleanup(self.factory.closeAll)

    async def listen(self, reactor: Any, factory: Any) -> str:
        """@return: where: a target string, and a client endpoint's."""
        if self.overUNIX:
            port = await UNIXServerEndpoint(reactor, self.mktemp()).listen(factory)
            where = f"unix:{port.getHost().name.decode()}"
        else:
            port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
            where = f"tcp:127.0.0.1:{port.getHost().port}"
        self.addCleanup(port.stopListening)
        return where

    def makeFactory(self, target: str, **settings: Any) -> WebSockifyFactory:
        from twisted.internet import reactor

        tls = CERTIFICATE.options() if self.secure else None
        taps = [lambda session: self.watch]
        known: dict[str, Any] = {"resolver": Resolver(target), "taps": taps, "tls": tls, "pump": self.pump}
        return WebSockifyFactory(reactor, **(known | settings))

    def makeTarget(self) -> Peer:
        test = self

        class Accepted(Peer):
            def connectionMade(self) -> None:
                test.targets.append(self)
                if not test.came.called:
                    test.came.callback(self)

        return Accepted()

    async def pair(self) -> tuple[WebSocketPeer, Peer]:
        """A client and its target."""
        from twisted.internet import reactor

        peer = await openWebSocket(self, reactor, self.address)
        return peer, await self.came


class RelayTests(WholeTestCase):
    overUNIX = True

    async def stall(self, held: Any, ask: Any, peer: Peer) -> None:
        """
        Wait until one direction has come to rest, by turns in the other: C{ask} sends, C{peer} receives.

        @param held: counts the bytes taken in the direction that stalls.
        """
        rest = 0
        before = held()
        while rest < 50:
            size = len(peer.received)
            ask(b"!")
            await peer.when(lambda size=size: len(peer.received) > size)
            before, rest = held(), rest + 1 if held() == before else 0

    async def test_stalledClient(self) -> None:
        """
        A client that does not read costs a bounded buffer while its target has 16 MiB for it; what it sends itself
        still arrives, and in the end it gets everything.
        """
        client, target = await self.pair()
        client.transport.pauseProducing()
        for _ in range(16):
            target.transport.write(MEGABYTE)
        await self.stall(lambda: self.watch.fromTargetSize, lambda it: client.send(Frame(BINARY, it)), target)
        self.assertLessEqual(self.watch.fromTargetSize, KERNEL + BOUND)
        client.transport.resumeProducing()
        target.transport.loseConnection()
        await client.when(lambda: client.received.endswith(b"Target closed"))
        *told, last = client.told()
        self.assertEqual(b"".join(message.payload for message in told), MEGABYTE * 16)
        self.assertEqual(last, Message(CLOSE, b"\x03\xe8Target closed"))

    async def test_stalledTarget(self) -> None:
        """The same for a target that does not read."""
        client, target = await self.pair()
        target.transport.pauseProducing()
        for _ in range(16):
            client.transport.write(LARGE)
        await self.stall(lambda: self.watch.fromClientSize, target.transport.write, client)
        self.assertLessEqual(self.watch.fromClientSize, KERNEL + BOUND)
        target.transport.resumeProducing()
        client.send(Frame(CLOSE, b"\x03\xe8"))
        await target.when(lambda: target.lost is not None)
        self.assertEqual(target.received, MEGABYTE * 16)

    async def test_stalledPings(self) -> None:
        """A client that pings and does not read gets one pong when it does, to its newest ping."""
        client, target = await self.pair()
        client.transport.pauseProducing()
        for _ in range(16):
            target.transport.write(MEGABYTE)
        await self.stall(lambda: self.watch.fromTargetSize, lambda it: client.send(Frame(BINARY, it)), target)
        for number in range(10000):
            client.send(Frame(PING, b"%d" % number))
        client.send(Frame(BINARY, b"done"))
        await target.when(lambda: target.received.endswith(b"done"))
        client.transport.resumeProducing()
        target.transport.loseConnection()
        await client.when(lambda: client.received.endswith(b"Target closed"))
        pongs = [message.payload for message in client.told() if message.opcode == PONG]
        self.assertEqual(pongs, [b"9999"])

    async def test_clientVanishes(self) -> None:
        """What a client sent before it vanished reaches its target, then end-of-file."""
        client, target = await self.pair()
        client.transport.write(LARGE)
        client.transport.loseConnection()
        await target.when(lambda: target.lost is not None)
        self.assertEqual(target.received, MEGABYTE)

    async def test_protocolError(self) -> None:
        """A client that breaks the protocol while it goes on sending reads why."""
        client, target = await self.pair()
        client.send(Frame(BINARY, b"valid"), Frame(BINARY, b"x", masked=False))
        client.transport.write(MEGABYTE * 4)
        await client.when(lambda: bool(client.received))
        self.assertEqual(client.told(), [Message(CLOSE, b"\x03\xeaFrame not masked")])
        await target.when(lambda: target.lost is not None)
        self.assertEqual(target.received, b"valid")

    async def end(self, way: int, client: WebSocketPeer, target: Peer) -> None:
        """End a session in one of four ways."""
        if way == 0:
            client.send(Frame(CLOSE, b"\x03\xe8"))
        elif way == 1:
            client.transport.abortConnection()
        elif way == 2:
            target.transport.loseConnection()
            await client.when(lambda: bool(client.received))
            client.send(Frame(CLOSE, b"\x03\xe8"))
        else:
            target.transport.abortConnection()
            await client.when(lambda: bool(client.received))
            client.transport.abortConnection()
        await client.gone()
        await target.when(lambda: target.lost is not None)

    async def test_descriptors(self) -> None:
        """Sessions, however they end, leave no socket behind."""
        from twisted.internet import reactor

        def sockets() -> int:
            gc.collect()
            return sum(it.is_socket() for it in Path("/proc/self/fd").iterdir())

        before = sockets()
        for number in range(20):
            self.came = Deferred()
            await self.end(number % 4, *await self.pair())
        while len(self.factory.sessions) or self.factory.connections:
            await deferLater(reactor, 0)
        self.assertEqual(sockets(), before)


class SharesTests(WholeTestCase):
    """C{bandwidthPerIdentity}, one byte a second."""

    known = True

    def makeFactory(self, target: str, **settings: Any) -> WebSockifyFactory:
        who = {"authenticator": lambda request: Identity("alice")} if self.known else {}
        return super().makeFactory(target, bandwidthPerIdentity=1, **who)

    async def test_shared(self) -> None:
        """All sessions of an identity have no more than that."""
        (client, target), (other, _) = await self.pair(), await self.pair()
        client.send(Frame(BINARY, b"ab"))
        target.transport.write(b"cd")
        await client.when(lambda: b"c" in client.received)
        await target.when(lambda: target.received == b"a")
        other.send(Frame(BINARY, b"xy"))
        await target.when(lambda: target.received == b"ab")
        self.assertLessEqual(len(self.targets[-1].received), 1)
        for session in self.factory.sessions:
            session.abort()  # or it would take its time
        self.assertEqual(len(self.factory.sessions.route.shares[0]), 2)


class NobodysShareTests(SharesTests):
    known = False

    async def test_shared(self) -> None:
        """Sessions of nobody in particular have no limit of this kind."""
        client, target = await self.pair()
        client.send(Frame(BINARY, MEGABYTE))
        target.transport.write(MEGABYTE)
        await target.when(lambda: len(target.received) == len(MEGABYTE))
        await client.when(lambda: len(client.received) > len(MEGABYTE))
        self.assertEqual(len(self.factory.sessions.route.shares[0]), 0)


class ResetTests(WholeTestCase):
    async def test_reset(self) -> None:
        """A target that resets the connection is told with 1011, behind what it sent."""
        client, target = await self.pair()
        target.transport.write(b"last words")
        await client.when(lambda: client.received.endswith(b"last words"))
        target.transport.abortConnection()
        await client.when(lambda: len(client.told()) == 2)
        self.assertEqual(client.told()[1], Message(CLOSE, b"\x03\xf3Target connection lost"))


class UnpumpedResetTests(ResetTests):
    pump = False


class UnpumpedRelayTests(RelayTests):
    """The transports relay."""

    pump = False


class SecureRelayTests(RelayTests):
    """The client comes over TLS."""

    secure = True

    async def arrange(self) -> None:
        from twisted.internet import reactor

        await super().arrange()
        options = optionsForClientTLS("localhost", trustRoot=CERTIFICATE)
        self.address = wrapClientTLS(options, clientFromString(reactor, self.address))


class Slow(Resource):
    """Answers with much, when asked to go on."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: Deferred[Any] = Deferred()

    def render_GET(self, request: Any) -> int:
        self.asked.callback(request)
        return NOT_DONE_YET


class HTTPTests(WholeTestCase):
    """Answers arrive, whatever the client does meanwhile."""

    def makeFactory(self, target: str, **settings: Any) -> WebSockifyFactory:
        self.slow = Slow()
        return super().makeFactory(target, pages=self.slow, **settings)

    async def connect(self) -> WebSocketPeer:
        from twisted.internet import reactor

        return await connect(self, reactor, self.address)

    async def test_stillSending(self) -> None:
        """A client that is still sending a body is told that it is not wanted, not reset."""
        client = await self.connect()
        client.transport.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100000000000\r\n\r\n")
        client.transport.write(MEGABYTE * 8)
        await client.gone()
        (response,) = responses(bytes(client.received))
        self.assertEqual((response.status, response.headers["connection"]), (405, "close"))

    async def test_hugeHeader(self) -> None:
        """A header line of 16 MiB is answered, and not kept."""
        client = await self.connect()
        client.transport.write(b"GET / HTTP/1.1\r\nX: ")
        client.transport.write(b"x" * 16 * 1024 * 1024)
        await client.gone()
        self.assertEqual(responses(bytes(client.received))[0].status, 431)

    async def test_halfClosed(self) -> None:
        """A client that has closed its side gets all of its answer, then the end."""
        client = await self.connect()
        client.transport.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        request = await self.slow.asked
        client.transport.loseWriteConnection()
        await deferLater(self.factory.clock, 0)
        request.setHeader("content-length", str(8 * len(MEGABYTE)))
        request.write(MEGABYTE * 8)
        request.finish()
        await client.gone()
        self.assertEqual(responses(bytes(client.received))[0].body, MEGABYTE * 8)

    async def test_closeAll(self) -> None:
        """Ending it all closes sessions with 1001 and drops everything else; new upgrades are told 503."""
        from twisted.internet import reactor

        idle = await self.connect()
        session, _ = await self.pair()
        closed = self.factory.closeAll()
        await idle.gone()
        self.assertFalse(closed.called)
        late = await openWebSocket(self, reactor, self.address)
        self.assertIn(b"HTTP/1.1 503 ", late.head)
        await session.when(lambda: bool(session.told()))
        self.assertEqual(session.told(), [Message(CLOSE, b"\x03\xe9Server going down")])
        session.send(Frame(CLOSE, b"\x03\xe9"))
        await closed


@implementer(IAuthenticator)
class Doorman:
    def authenticate(self, request: Request) -> None:
        raise Refusal(401, "Who are you?")


@implementer(IAuthenticator)
class Host:
    def authenticate(self, request: Request) -> None:
        """Everybody is welcome."""


class DefaultTests(WholeTestCase):
    """What an embedder gets without asking."""

    async def head(self, factory: WebSockifyFactory, *headers: str, secure: bool = False) -> bytes:
        from twisted.internet import reactor

        port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        self.addCleanup(factory.closeAll)
        address: Any = clientFromString(reactor, f"tcp:127.0.0.1:{port.getHost().port}")
        if secure:
            address = wrapClientTLS(optionsForClientTLS("localhost", trustRoot=CERTIFICATE), address)
        peer = await openWebSocket(self, reactor, address, *headers)
        return peer.head.partition(b"\r\n")[0]

    async def test_origin(self) -> None:
        """Only pages of the same host may connect, unless others are named."""
        factory = self.makeFactory("demo:")
        self.assertIn(b" 101 ", await self.head(factory, "Origin: http://here"))
        self.assertIn(b" 403 ", await self.head(self.makeFactory("demo:"), "Origin: http://there"))
        named = self.makeFactory("demo:", origins=("http://there",))
        self.assertIn(b" 101 ", await self.head(named, "Origin: http://there"))

    async def test_scheme(self) -> None:
        """A plain page may connect over TLS, but not where browsers are let in by what they send by themselves."""
        tls = CERTIFICATE.options()
        asking = CERTIFICATE.options(CERTIFICATE)
        asking.requireCertificate = False
        for settings, status in (
            ({"tls": tls}, b" 101 "),
            ({"tls": tls, "authenticator": Host()}, b" 403 "),
            ({"tls": asking}, b" 403 "),
            ({"tls": tls, "strictScheme": True}, b" 403 "),
            ({"tls": tls, "authenticator": Host(), "strictScheme": False}, b" 101 "),
            ({"tls": tls, "authenticator": Host(), "origins": ("http://here",)}, b" 101 "),
        ):
            head = await self.head(self.makeFactory("demo:", **settings), "Origin: http://here", secure=True)
            self.assertIn(status, head, settings)
            head = await self.head(self.makeFactory("demo:", **settings), "Origin: https://here", secure=True)
            self.assertIn(b" 403 " if "origins" in settings else b" 101 ", head, settings)

    async def test_plugins(self) -> None:
        """Those who decide are asked."""
        self.assertIn(b" 401 ", await self.head(self.makeFactory("demo:", authenticator=Doorman())))

    async def test_unreachable(self) -> None:
        """A target that is not there is told in the close reason."""
        from twisted.internet import reactor

        with socket.create_server(("127.0.0.1", 0)) as unused:
            number = unused.getsockname()[1]
        factory = self.makeFactory(f"127.0.0.1:{number}")
        port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        peer = await openWebSocket(self, reactor, f"tcp:127.0.0.1:{port.getHost().port}")
        await peer.when(lambda: bool(peer.received))
        (message,) = messages(bytes(peer.received))
        self.assertEqual((message.opcode, message.payload[:2]), (CLOSE, b"\x03\xf3"))
        self.assertIn(b"refused", message.payload)
