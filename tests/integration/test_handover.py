"""A connection that has spoken HTTP becomes a session: on a port of ours, and on one that is a plain Site's."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import deferLater
from twisted.internet.tcp import Connection
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.static import Data

from tests.certificates import selfSigned
from tests.integration.client import CLOSE, frame
from tests.integration.test_raw import LARGE, Server
from wsproxy import WebSockifyResource
from wsproxy.errors import Refusal
from wsproxy.factory import WebSockifyFactory
from wsproxy.interfaces import Identity, Request, Target

reactor: Any = _reactor

CERTIFICATE: Any = PrivateCertificate.loadPEM(selfSigned("localhost").both).options()

UPGRADE = (
    b"GET /ws%b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
)


def upgrade(query: bytes = b"", headers: bytes = b"") -> bytes:
    return UPGRADE % (query, headers)


def page(path: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path


class Page(Resource):
    """Says C{page} at once, or after some turns of the reactor."""

    isLeaf = True

    def __init__(self, seconds: float | None) -> None:
        super().__init__()
        self._seconds = seconds

    def render_GET(self, request: Any) -> bytes | int:
        if self._seconds is None:
            return b"page"
        request.setHeader("content-length", "4")
        deferLater(reactor, self._seconds, lambda: (request.write(b"page"), request.finish()))
        return NOT_DONE_YET


class Talker:
    """A client's connection, read as a stream. Whoever is silent for ten seconds has failed."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._read = bytearray()

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def take(self, size: int) -> bytes:
        while len(self._read) < size:
            part = self.connection.recv(65536)
            assert part, "closed"
            self._read += part
        taken = bytes(self._read[:size])
        del self._read[:size]
        return taken

    def response(self) -> tuple[int, dict[str, str], bytes]:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.take(1)
        first, *lines = head.decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return int(first.split()[1]), headers, self.take(int(headers.get("content-length", 0)))

    def payload(self, size: int) -> bytes:
        """So many bytes out of binary frames, whole ones."""
        got = b""
        while len(got) < size:
            first, length = self.take(2)
            assert first == 0x82, first
            if length > 125:
                length = int.from_bytes(self.take(2 if length == 126 else 8), "big")
            got += self.take(length)
        return got

    def ended(self) -> bool:
        """Whether the connection ends here, orderly."""
        return not self._read and not self.connection.recv(1)


class HandoverTests(TestCase):
    """On a port of ours."""

    timeout = 60
    tls: Any = None

    async def setUp(self) -> None:
        self.waiting: list[Deferred[Target]] = []
        self.cancelled = 0
        self.ended = 0
        self.target = Server(self.echo)
        self.addCleanup(self.target.close)
        root = Resource()
        root.putChild(b"now", Page(None))
        root.putChild(b"later", Page(0.01))
        root.putChild(b"large", Data(LARGE, "application/octet-stream"))
        self.listening = self.listen(root)
        self.addCleanup(self.factory.closeAll, 0.1)
        self.addCleanup(self.listening.stopListening)

    def listen(self, root: Resource) -> Any:
        self.factory = WebSockifyFactory(reactor, resolver=self.resolve, pages=root, tls=self.tls)
        return reactor.listenTCP(0, self.factory, interface="127.0.0.1")

    def resolve(self, request: Request, identity: Identity | None) -> Any:
        if "no" in request.query:
            raise Refusal(403, "Not there")
        if "wait" in request.query:
            waiting: Deferred[Target] = Deferred(self.cancel)
            self.waiting.append(waiting)
            return waiting
        self.assertEqual(request.secure, self.tls is not None)
        return Target(f"127.0.0.1:{self.target.port}")

    def cancel(self, waiting: Deferred[Target]) -> None:
        self.cancelled += 1

    def echo(self, client: socket.socket) -> None:
        while data := client.recv(65536):
            client.sendall(data)
        self.ended += 1

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.listening.getHost().port), 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is None:
            return connection
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(connection)

    async def converse(self, conversation: Callable[[Talker], Any]) -> Any:
        def converse() -> Any:
            with self.connect() as connection:
                return conversation(Talker(connection))

        return await deferToThread(converse)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await deferLater(reactor, 0.01)

    async def test_behind(self) -> None:
        """What comes behind the request reaches the target, in one piece with it or not, once and in order."""
        data = upgrade() + frame(b"x" * 50) + frame(b"y" * 50)

        def conversation(client: Talker, cut: int) -> None:
            client.send(data[:cut])
            if cut < len(data):
                client.send(data[cut:])
            self.assertEqual(client.response()[0], 101)
            self.assertEqual(client.payload(100), b"x" * 50 + b"y" * 50)
            client.send(frame(b"z"))
            self.assertEqual(client.payload(1), b"z")

        for cut in (1, 50, len(upgrade()) - 1, len(upgrade()), len(upgrade()) + 1, len(data) - 1, len(data)):
            await self.converse(lambda client, cut=cut: conversation(client, cut))  # type: ignore[misc]

    async def test_laterRequest(self) -> None:
        """It may come behind other requests on the connection, even such as have not been answered yet."""
        for paths in ([b"/now"], [b"/later"], [b"/now", b"/later", b"/now"], [b"/later", b"/later"]):
            for behind in (b"", b"x" * 100, b"y" * 100_000):

                def conversation(client: Talker, paths: list[bytes] = paths, behind: bytes = behind) -> None:
                    client.send(b"".join(map(page, paths)) + upgrade() + (frame(behind) if behind else b""))
                    for _ in paths:
                        status, _, body = client.response()
                        self.assertEqual((status, body), (200, b"page"))
                    self.assertEqual(client.response()[0], 101)
                    self.assertEqual(client.payload(len(behind)), behind)
                    client.send(frame(b"z"))
                    self.assertEqual(client.payload(1), b"z")

                await self.converse(conversation)

    async def test_keptAlive(self) -> None:
        """Or long after them."""

        def conversation(client: Talker) -> None:
            for _ in range(3):
                client.send(page(b"/now"))
                self.assertEqual(client.response()[2], b"page")
            client.send(upgrade())
            self.assertEqual(client.response()[0], 101)
            client.send(frame(b"z"))
            self.assertEqual(client.payload(1), b"z")

        await self.converse(conversation)

    async def test_congested(self) -> None:
        """Or while the answer to the last one still waits for the client to take it."""

        def conversation(client: Talker) -> None:
            client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            client.send(page(b"/large") * 2 + upgrade() + frame(b"x" * 100))
            for _ in range(2):
                self.assertEqual(client.response()[2], LARGE)
            self.assertEqual(client.response()[0], 101)
            self.assertEqual(client.payload(100), b"x" * 100)
            client.send(frame(b"z"))
            self.assertEqual(client.payload(1), b"z")

        await self.converse(conversation)

    async def test_bulk(self) -> None:
        """Much data goes both ways, and the target's end is the end of the session."""

        def conversation(client: Talker) -> None:
            client.send(upgrade())
            self.assertEqual(client.response()[0], 101)
            for at in range(0, len(LARGE), 300_000):
                piece = LARGE[at : at + 300_000]
                client.send(frame(piece))
                self.assertEqual(client.payload(len(piece)), piece)
            client.send(frame(b"\x03\xe8", CLOSE))
            self.assertEqual(client.take(4)[:1], b"\x88")
            self.assertTrue(client.ended())

        await self.converse(conversation)
        await self.factory.sessions.whenIdle()
        self.assertEqual(self.ended, 1)

    async def test_refused(self) -> None:
        """A refusal is a whole response that closes the connection, however much its client still sends."""
        for asked, expected in (
            (upgrade(b"?no"), 403),
            (upgrade().replace(b"Version: 13", b"Version: 8"), 426),
            (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0", 1), 400),
            (page(b"/now") + upgrade(b"?no"), 403),
        ):

            def conversation(client: Talker, asked: bytes = asked, expected: int = expected) -> None:
                client.send(asked + b"x" * 100_000)
                status, headers, body = client.response()
                if body == b"page":
                    status, headers, body = client.response()
                self.assertEqual((status, headers["connection"]), (expected, "close"))
                self.assertTrue(body.startswith(b"%d " % expected))
                self.assertTrue(client.ended())

            await self.converse(conversation)

    async def test_undecided(self) -> None:
        """A client that waits may send ahead, and gets its session when that is decided."""

        def conversation(client: Talker) -> None:
            client.send(upgrade(b"?wait") + frame(b"x" * 100_000))
            self.assertEqual(client.response()[0], 101)
            self.assertEqual(client.payload(100_000), b"x" * 100_000)

        talking = Deferred.fromCoroutine(self.converse(conversation))
        await self.until(lambda: bool(self.waiting))
        self.waiting.pop().callback(Target(f"127.0.0.1:{self.target.port}"))
        await talking

    async def test_vanishesUndecided(self) -> None:
        """One that leaves meanwhile is noticed: those who decide are told so."""
        await self.converse(lambda client: client.send(upgrade(b"?wait")))
        await self.until(lambda: self.cancelled == 1)
        self.assertEqual(len(self.factory.sessions), 0)

    async def test_vanishes(self) -> None:
        """One that leaves its session is noticed: so does its target's connection."""

        def conversation(client: Talker) -> None:
            client.send(upgrade())
            self.assertEqual(client.response()[0], 101)
            client.send(frame(b"z"))
            self.assertEqual(client.payload(1), b"z")
            client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        await self.converse(conversation)
        await self.factory.sessions.whenIdle()
        await self.until(lambda: self.ended == 1)

    async def test_pumped(self) -> None:
        """The pump has the sockets of a session: the reactor reads no transport of theirs."""
        closing: Deferred[None] = Deferred()

        def conversation(client: Talker) -> None:
            client.send(upgrade())
            self.assertEqual(client.response()[0], 101)
            client.send(frame(b"z"))
            self.assertEqual(client.payload(1), b"z")
            reactor.callFromThread(closing.callback, None)
            client.connection.recv(1)

        talking = Deferred.fromCoroutine(self.converse(conversation))
        await closing
        read = [reader for reader in reactor.getReaders() if isinstance(reader, Connection)]
        self.assertEqual([reader.getHost().port for reader in read], self.read())
        await self.factory.closeAll()
        await talking

    def read(self) -> list[int]:
        """The ports of connections that the reactor reads in the midst of a session."""
        return []


class HandoverOverTLSTests(HandoverTests):
    """The same over TLS."""

    tls = CERTIFICATE


class SiteTests(HandoverTests):
    """On a port that is a plain Site's."""

    def listen(self, root: Resource) -> Any:
        self.factory = WebSockifyFactory(reactor, resolver=self.resolve)
        root.putChild(b"ws", WebSockifyResource(self.factory))
        site = Site(root, reactor=reactor)
        if self.tls is None:
            return reactor.listenTCP(0, site, interface="127.0.0.1")
        return reactor.listenSSL(0, site, self.tls, interface="127.0.0.1")

    async def test_others(self) -> None:
        """What is no upgrade is answered there, and the connection stays with HTTP."""

        def conversation(client: Talker) -> None:
            for asked, expected in (
                (page(b"/ws"), 405),
                (upgrade().replace(b"GET", b"POST"), 405),
                (upgrade(headers=b"Content-Length: 1\r\n") + b"x", 400),
                (page(b"/now"), 200),
            ):
                client.send(asked)
                self.assertEqual(client.response()[0], expected)
            client.send(page(b"/ws").replace(b"Host", b"Accept: application/wsproxy-refusal+json\r\nHost"))
            self.assertEqual(client.response()[2], b'{"status": 101, "reason": ""}')

        await self.converse(conversation)


class SiteOverTLSTests(SiteTests):
    """The same over TLS, which stays with Twisted's transport."""

    tls = CERTIFICATE

    def read(self) -> list[int]:
        return [self.listening.getHost().port]
