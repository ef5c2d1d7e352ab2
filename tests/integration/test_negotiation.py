"""What an embedder says to both sides before the tunnel opens, over real sockets."""

from __future__ import annotations

import ssl
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.certificates import LOCAL, Authority, pem
from wsproxy import WebSockifyFactory, WebSockifyService
from wsproxy.ends.secureend import SecureEnd
from wsproxy.errors import DialError
from wsproxy.interfaces import Conversation, Ending, Session
from wsproxy.tls.client import clientTLS

reactor: Any = _reactor

AUTHORITY = Authority()

LARGE = bytes(range(256)) * 4096


class Target(Protocol):
    """Keeps what it is told, and does what a test says."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.received = bytearray()

    def connectionMade(self) -> None:
        self._script.targets.append(self)
        self._script.onConnect(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._script.onData(self)

    def connectionLost(self, reason: Any = None) -> None:
        self._script.lost.callback(bytes(self.received))


class Script:
    def __init__(self) -> None:
        self.targets: list[Target] = []
        self.lost: Deferred[bytes] = Deferred()
        self.onConnect: Callable[[Target], None] = lambda target: None
        self.onData: Callable[[Target], None] = lambda target: None


class Endings:
    """Keeps how sessions end."""

    def __init__(self, endings: list[Ending]) -> None:
        self._endings = endings

    def opened(self, session: Session) -> None: ...

    def closed(self, session: Session, ending: Ending) -> None:
        self._endings.append(ending)


class NegotiationTests(TestCase):
    timeout = 60
    pump = True

    def setUp(self) -> None:
        self.script = Script()

    async def serve(self, negotiate: Any, **settings: Any) -> str:
        """@return: the URL of a proxy that negotiates so."""
        factory = Factory.forProtocol(lambda: Target(self.script))
        target = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(target.stopListening)
        where = f"127.0.0.1:{target.getHost().port}"
        self.factory = WebSockifyFactory(
            reactor, resolver=lambda request, identity: where, negotiate=negotiate, pump=self.pump, **settings
        )
        service = WebSockifyService(reactor, self.factory, ["127.0.0.1:0"])
        service.startService()
        self.addCleanup(service.stopService)
        [port] = await service.whenListening()
        return f"ws://127.0.0.1:{port.getHost().port}/"

    async def converse(self, url: str, *said: bytes, expect: int) -> bytes:
        """@return: so many bytes that a client is told, which says all this first."""

        def speak() -> bytes:
            heard = b""
            with connect(url, max_size=None, compression=None) as client:
                for message in said:
                    client.send(message)
                while len(heard) < expect:
                    heard += client.recv()
            return heard

        return await deferToThread(speak)

    async def refused(self, url: str, *said: bytes) -> tuple[int, str]:
        """@return: close code and reason."""

        def speak() -> tuple[int, str]:
            with connect(url, compression=None) as client:
                try:
                    for message in said:
                        client.send(message)
                    while True:
                        client.recv()
                except ConnectionClosed as closed:
                    assert closed.rcvd is not None
                    return closed.rcvd.code, closed.rcvd.reason

        return await deferToThread(speak)

    async def test_preamble(self) -> None:
        """A CONNECT is said and answered, byte by byte; what comes behind the answer is the client's."""

        async def negotiate(client: Conversation, target: Conversation) -> None:
            target.write(b"CONNECT vm-7:5900 HTTP/1.1\r\n\r\n")
            head = await target.readUntil(b"\r\n\r\n")
            if b" 200 " not in head:
                raise DialError("The gateway says no")

        def answer(target: Target) -> None:
            if target.received.endswith(b"\r\n\r\n"):
                for byte in b"HTTP/1.1 200 OK\r\n\r\nRFB 003.008\n":
                    target.transport.write(bytes([byte]))

        self.script.onData = answer
        url = await self.serve(negotiate)
        self.assertEqual(await self.converse(url, b"hello", expect=12), b"RFB 003.008\n")
        self.assertEqual(await self.script.lost, b"CONNECT vm-7:5900 HTTP/1.1\r\n\r\nhello")

    async def test_refusal(self) -> None:
        """What it raises for people's eyes is what the client reads; of other things it learns nothing."""
        for error, told, logged in (
            (DialError("The gateway says no"), "The gateway says no", 0),
            (KeyError("secret"), "Target unreachable", 1),
        ):
            self.script = Script()

            async def negotiate(client: Conversation, target: Conversation, error: Exception = error) -> None:
                raise error

            self.assertEqual(await self.refused(await self.serve(negotiate)), (1011, told))
            self.assertEqual(await self.script.lost, b"")
            self.assertEqual(len(self.flushLoggedErrors(KeyError)), logged)

    async def test_bothSides(self) -> None:
        """It talks with the client as well, in messages of any size; what nobody has read is relayed."""

        async def negotiate(client: Conversation, target: Conversation) -> None:
            client.write(b"name? ")
            name = await client.readUntil(b"\n")
            (size,) = struct.unpack("!H", await client.readExactly(2))
            blob = await client.readExactly(size)
            target.write(name.upper() + blob)

        url = await self.serve(negotiate)
        self.script.onData = lambda target: target.transport.write(b"!") if b"rest" in target.received else None
        self.assertEqual(await self.converse(url, b"al", b"ice\n\0", b"\x03ab", b"c" + b"rest", expect=7), b"name? !")
        self.assertEqual(await self.script.lost, b"ALICE\nabcrest")

    async def test_muchAhead(self) -> None:
        """A client that sends ahead is held back, and nothing of it is lost."""
        go: Deferred[None] = Deferred()

        async def negotiate(client: Conversation, target: Conversation) -> None:
            target.write(await client.readExactly(5))
            await go

        url = await self.serve(negotiate)
        self.script.onConnect = lambda target: reactor.callLater(0.1, go.callback, None)
        self.script.onData = lambda target: (
            target.transport.write(b"!") if len(target.received) == len(LARGE) + 5 else None
        )
        await self.converse(url, b"first" + LARGE, expect=1)
        self.assertEqual(await self.script.lost, b"first" + LARGE)

    async def test_targetGone(self) -> None:
        """A target that closes instead of an answer is told so; so is one that says too much, and one that is mute. A
        client that is mute is told that of itself, and a negotiator that has given up is a mistake.
        """
        self.script.onConnect = lambda target: target.transport.loseConnection()

        async def read(client: Conversation, target: Conversation) -> None:
            await target.readExactly(1)

        self.assertEqual(await self.refused(await self.serve(read)), (1011, "Target closed the connection"))
        self.script = Script()
        self.assertEqual(await self.refused(await self.serve(read, handshakeTimeout=0.5)), (1011, "Target timed out"))
        await self.script.lost

        async def listen(client: Conversation, target: Conversation) -> None:
            await client.readExactly(1)

        async def secure(client: Conversation, target: Conversation) -> None:
            await client.startTLS(PrivateCertificate.loadPEM(AUTHORITY.issue(*LOCAL).both).options())

        for waiting in (listen, secure):
            endings: list[Ending] = []
            self.script = Script()
            url = await self.serve(waiting, handshakeTimeout=0.5, observers=[Endings(endings)])
            self.assertEqual(await self.refused(url), (1011, "Client timed out"))
            await self.script.lost
            self.assertEqual([each.by for each in endings], ["client"])

        async def giveUp(client: Conversation, target: Conversation) -> None:
            raise CancelledError

        self.script = Script()
        self.assertEqual(await self.refused(await self.serve(giveUp)), (1011, "Target unreachable"))
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)

        async def line(client: Conversation, target: Conversation) -> None:
            await target.readUntil(b"\n", 10)

        self.script = Script()
        self.script.onConnect = lambda target: target.transport.write(b"x" * 11)
        self.assertEqual(await self.refused(await self.serve(line)), (1011, "Target unreachable"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_clientGone(self) -> None:
        """A client that leaves ends the conversation, and its target."""
        cancelled: Deferred[type[BaseException]] = Deferred()

        async def negotiate(client: Conversation, target: Conversation) -> None:
            try:
                await client.readExactly(100)
            except BaseException as error:
                cancelled.callback(type(error))
                raise

        url = await self.serve(negotiate)

        def leave() -> None:
            with connect(url, compression=None) as client:
                client.send(b"not enough")

        await deferToThread(leave)
        await cancelled
        await self.script.lost
        await self.factory.sessions.whenIdle()

    async def test_targetTLS(self) -> None:
        """TLS is begun with the target in the middle of its stream, and pumped where sessions are."""
        issued = AUTHORITY.issue(*LOCAL)
        options: Any = PrivateCertificate.loadPEM(issued.both).options()

        def begin(target: Target) -> None:
            if target.received == b"STARTTLS\n":
                del target.received[:]
                target.transport.write(b"OK\n")
                target.transport.startTLS(options)  # type: ignore[attr-defined]
            elif target.received == b"hello":
                target.transport.write(b"secret " + LARGE)

        self.script.onData = begin

        async def negotiate(client: Conversation, target: Conversation) -> None:
            target.write(b"STARTTLS\n")
            await target.readUntil(b"\n")
            await target.startTLS(self.trusting("localhost"))

        adopted: list[Any] = []
        url = await self.serve(negotiate)
        self.patch(SecureEnd, "start", _noting(SecureEnd.start, adopted))
        heard = await self.converse(url, b"hello", expect=7 + len(LARGE))
        self.assertEqual(heard, b"secret " + LARGE)
        self.assertEqual(await self.script.lost, b"hello")
        self.assertEqual(len(adopted), int(self.pump))

    async def test_untrusted(self) -> None:
        """A target whose certificate is another's is not spoken to."""
        options: Any = PrivateCertificate.loadPEM(AUTHORITY.issue(*LOCAL).both).options()
        self.script.onConnect = lambda target: target.transport.startTLS(options)  # type: ignore[attr-defined]

        async def negotiate(client: Conversation, target: Conversation) -> None:
            await target.startTLS(self.trusting("elsewhere.example"))

        code, reason = await self.refused(await self.serve(negotiate), b"password")
        self.assertEqual((code, reason.partition(":")[0]), (1011, "Target TLS"))
        self.assertEqual(await self.script.lost, b"")

    async def test_clientTLS(self) -> None:
        """TLS is begun with the client, inside of its WebSocket; what it says beneath is the target's."""
        options: Any = PrivateCertificate.loadPEM(AUTHORITY.issue(*LOCAL).both).options()

        async def negotiate(client: Conversation, target: Conversation) -> None:
            client.write(b"OK")
            await client.startTLS(options)
            target.write(await client.readUntil(b"\n"))

        url = await self.serve(negotiate)
        self.script.onData = lambda target: target.transport.write(LARGE) if target.received.endswith(b"go") else None

        def speak() -> bytes:
            context = ssl.create_default_context(cadata=pem(AUTHORITY.certificate).decode())
            into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(into, out, server_hostname="localhost")
            with connect(url, max_size=None, compression=None) as client:
                assert client.recv() == b"OK"

                def until(act: Callable[[], Any]) -> Any:
                    while True:
                        try:
                            result = act()
                        except ssl.SSLWantReadError:
                            result = None
                        if out.pending:
                            client.send(out.read())
                        if result is not None:
                            return result
                        into.write(client.recv())

                until(lambda: tls.do_handshake() or True)
                until(lambda: tls.write(b"first line\nthen go"))
                heard = b""
                while len(heard) < len(LARGE):
                    heard += until(lambda: tls.read(65536))
                return heard

        self.assertEqual(await deferToThread(speak), LARGE)
        self.assertEqual(await self.script.lost, b"first line\nthen go")

    def trusting(self, name: str) -> Any:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(pem(AUTHORITY.certificate))
        return clientTLS(name, authorities=path, insecure=False)


class UnpumpedNegotiationTests(NegotiationTests):
    pump = False


def _noting(method: Any, told: list[Any]) -> Any:
    def noting(end: Any, *details: Any) -> Any:
        told.append(end)
        return method(end, *details)

    return noting
