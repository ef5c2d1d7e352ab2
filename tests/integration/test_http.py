"""Requests that nobody should send: they cost their sender more than the proxy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.integration.bridge import BridgeTestCase, still
from tests.integration.client import Client, Response
from tests.integration.proxy import descriptors
from tests.integration.stream import Stream

reactor: Any = _reactor

MEBIBYTE = 1 << 20
FLOOD = [b"a" * 65536] * 256
"""16 MiB."""

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def used(stream: Stream) -> Stream:
    """C{stream}, after it has had a page."""
    stream.write(REQUEST)
    response = await Client(stream).response()
    assert response.status == 200, response
    await stream.exactly(int(response.headers["content-length"]))
    return stream


class FloodTests(BridgeTestCase):
    """Too much of everything."""

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        await used(self.connect())
        self.proxy.grown()  # from here on

    async def tearDown(self) -> None:  # type: ignore[override]  # trial awaits it
        """Whatever it was: nothing of it is in memory or on disk, and others are served."""
        await used(self.connect())
        await super().tearDown()
        self.assertLess(self.proxy.grown(), 2 * MEBIBYTE)
        self.assertEqual(list((self.proxy.folder / "tmp").iterdir()), [])

    async def flood(self, head: bytes, flood: Iterable[bytes] = FLOOD) -> Response:
        """The answer to C{head} while C{flood} follows it, as much of that as is taken."""

        async def pour() -> None:
            try:
                for piece in flood:
                    await stream.send(piece)
            except EOFError:
                """Enough."""

        stream = self.connect()
        stream.write(head)
        pouring = Deferred.fromCoroutine(pour())
        response = await Client(stream).response()
        self.assertEqual(response.headers.get("connection", "close"), "close")
        self.assertLess(self.proxy.grown(), 2 * MEBIBYTE)
        await pouring
        return response

    async def test_headerLine(self) -> None:
        """A header line of 16 MiB: 431."""
        response = await self.flood(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Padding: ")
        self.assertEqual(response.status, 431)

    async def test_requestLine(self) -> None:
        """A request line of 16 MiB: 414."""
        self.assertEqual((await self.flood(b"GET /")).status, 414)

    async def test_headers(self) -> None:
        """Short header lines without end: 431."""
        lines = [b"X: y\r\n" * 10000] * 256
        self.assertEqual((await self.flood(b"GET / HTTP/1.1\r\nHost: localhost\r\n", lines)).status, 431)

    async def test_body(self) -> None:
        """A body is refused before it comes, whatever size it is said to have, or none."""
        for method in (b"GET", b"POST", b"PUT"):
            for size in (b"Content-Length: 100000000000", b"Transfer-Encoding: chunked"):
                head = method + b" / HTTP/1.1\r\nHost: localhost\r\n" + size + b"\r\n\r\n"
                response = await self.flood(head)
                self.assertEqual(response.status, 400 if method == b"GET" else 405)

    async def test_upgradeWithBody(self) -> None:
        """So is that of an upgrade: what follows its headers is WebSocket frames or nothing."""
        head = (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Content-Length: 100000000000\r\n\r\n"
        )
        self.assertEqual((await self.flood(head)).status, 400)

    async def test_pipeline(self) -> None:
        """Requests without end from a client that reads no answer: after a while, it is not read either."""
        stream = self.connect(receiveBuffer=4096)
        sent = 0

        async def pour() -> None:
            nonlocal sent
            while sent < 64 * MEBIBYTE:
                await stream.send(REQUEST * 1000)
                sent += len(REQUEST) * 1000

        pouring = Deferred.fromCoroutine(pour())
        pouring.addErrback(lambda failure: failure.trap(EOFError))
        await still(lambda: sent)
        self.assertLess(sent, 64 * MEBIBYTE)
        self.assertLess(self.proxy.grown(), 2 * MEBIBYTE)
        stream.reset()
        await pouring


class SlowTests(BridgeTestCase):
    """Clients that take their time."""

    arguments = ("--handshake-timeout", "1")
    secure = True

    async def test_stages(self) -> None:
        """One too slow at any stage is gone after C{--handshake-timeout}; no byte it sends in time prolongs that."""
        client, target = await self.session()
        before = descriptors(self.proxy.pid)
        line, headers = b"GET /" + b"a" * 100, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20
        slow = [
            self.dribble(self.connect(secure=False), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)),
            self.dribble(self.connect(secure=False), line),
            self.dribble(self.connect(secure=False), headers),
            self.dribble(self.connect(), line),
            self.dribble(await used(self.connect(secure=False)), headers),
            self.dribble(await used(self.connect()), headers),
            self.connect(secure=False).gone(),
            self.connect().gone(),
        ]
        await gatherResults([Deferred.fromCoroutine(each) for each in slow])
        self.assertEqual(descriptors(self.proxy.pid), before)
        client.send(b"up")
        self.assertEqual(await target.exactly(2), b"up")

    async def dribble(self, stream: Stream, data: bytes) -> None:
        """A byte now and then, until the connection is gone."""
        gone = Deferred.fromCoroutine(stream.gone())
        for byte in data:
            if gone.called:
                return
            stream.write(bytes([byte]))
            await deferLater(reactor, 0.1, lambda: None)
        self.fail(f"still there after {data!r}")
