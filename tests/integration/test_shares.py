"""Sessions of one user that share a bandwidth: what each of them has of it, whatever the others do."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.certificates import LOCAL
from tests.integration.bridge import authority, connect, trusting
from tests.integration.client import Client, frame
from tests.integration.stream import Stream, Target
from tests.integration.test_backpressure import BLOCK, Pour
from tests.integration.test_config import ConfigCase

reactor: Any = _reactor

RATE = 2_000_000
SECONDS = 1.2
SETTINGS = """
listen = "127.0.0.1:0"
target = "{target}"
cert = "{folder}/cert.pem"
auth-plugin = "BasicHTTPAuth"
auth-source = "@{folder}/users"
bandwidth-per-identity = {rate}
"""


class Way:
    """
    One direction of a session that goes as fast as it may.

    @ivar moved: bytes that have arrived so far.
    """

    def __init__(self, writer: Stream, piece: bytes, reader: Stream | Client) -> None:
        self.moved = 0
        Pour(writer, 1 << 40, piece)
        Deferred.fromCoroutine(self._read(reader)).addErrback(lambda failure: None)  # the end of it

    async def _read(self, reader: Stream | Client) -> None:
        while data := await reader.some():
            self.moved += len(data)


class SharesCase(ConfigCase):
    options = ""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        super().setUp()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.addCleanup(self.listener.close)
        self.target = Target(self.listener)
        self.addCleanup(self.target.stop)
        (self.folder / "users").write_text("alice:a\nbob:b\n")
        (self.folder / "cert.pem").write_bytes(authority().issue(*LOCAL).both)
        self.port = await self.launch(self.settings(RATE))

    def settings(self, rate: int) -> str:
        target = "127.0.0.1:{1}".format(*self.listener.getsockname())
        return SETTINGS.format(target=target, folder=self.folder, rate=rate) + self.options

    async def session(self, user: str, secure: bool = False) -> tuple[Client, Stream]:
        client = Client(connect(self.port, trusting() if secure else None))
        self.addCleanup(client.stream.reset)
        credentials = b64encode(f"{user}:{user[0]}".encode()).decode()
        response = await client.upgrade(headers=[f"Authorization: Basic {credentials}"])
        self.assertEqual(response.status, 101)
        target = await self.target.accept()
        self.addCleanup(target.reset)
        return client, target

    async def down(self, user: str, secure: bool = False) -> Way:
        client, target = await self.session(user, secure)
        return Way(target, BLOCK, client)

    async def up(self, user: str, secure: bool = False) -> Way:
        client, target = await self.session(user, secure)
        return Way(client.stream, frame(BLOCK[:65536]), target)

    async def rates(self, ways: Sequence[Way]) -> list[float]:
        """Bytes a second, once what was there at first has passed."""
        await deferLater(reactor, 0.4, lambda: None)
        began, before = reactor.seconds(), [way.moved for way in ways]
        await deferLater(reactor, SECONDS, lambda: None)
        elapsed = reactor.seconds() - began
        return [(way.moved - size) / elapsed for way, size in zip(ways, before, strict=True)]

    def assertShared(self, rates: Sequence[float], rate: float) -> None:
        """Together they have that, within a tenth, and each its part."""
        self.assertApproximates(sum(rates), rate, rate / 10, rates)
        for each in rates:
            self.assertApproximates(each, rate / len(rates), rate / len(rates) / 4, rates)

    async def assertAllShare(self) -> None:
        await self.deaf("alice")
        downs = [await self.down("alice", secure) for secure in (False, True, False)]
        ups = [await self.up("alice", secure) for secure in (False, True)]
        other = await self.down("bob")
        rates = await self.rates([*downs, *ups, other])
        self.assertShared(rates[:3], RATE)
        self.assertShared(rates[3:5], RATE)
        self.assertShared(rates[5:], RATE)

    async def deaf(self, user: str) -> None:
        """A session whose client does not read what its target pours out."""
        _, target = await self.session(user)
        Pour(target, 1 << 40, BLOCK)


class SharesTests(SharesCase):
    """Pumped."""

    async def test_shared(self) -> None:
        """
        What one user sends is the rate, in equal parts, and so is what he receives, over TLS or not. A session of his
        that does not read takes nothing of that, and another user has a rate of her own.
        """
        await self.assertAllShare()

    async def test_reload(self) -> None:
        """Another rate is that of sessions that are open, and no rate sets them free."""
        ways = [await self.down("alice") for _ in range(2)]
        self.assertShared(await self.rates(ways), RATE)
        self.assertIn("bandwidth-per-identity", await self.reload(self.settings(RATE // 4)))
        self.assertShared(await self.rates(ways), RATE / 4)
        await self.reload(self.settings(RATE).replace("bandwidth-per-identity", "#"))
        self.assertGreater(sum(await self.rates(ways)), 3 * RATE)

    async def test_prompt(self) -> None:
        """What is little has not to wait for what is big."""
        for _ in range(3):
            await self.down("alice")
        client, target = await self.session("alice")
        for _ in range(5):
            client.send(b"key")
            self.assertEqual(await target.exactly(3), b"key")
            began = reactor.seconds()
            target.write(b"echo")
            self.assertEqual(await client.exactly(4), b"echo")
            self.assertLess(reactor.seconds() - began, 0.5)


class UnpumpedSharesTests(SharesCase):
    """Through transports."""

    options = "no-pump = true\n"

    async def test_shared(self) -> None:
        """The same."""
        await self.assertAllShare()
