"""Sessions over TLS, by a client that holds every byte of TLS in its own hands: cut anywhere, held back, spoilt."""

from __future__ import annotations

import random
import ssl
from typing import Any, cast

from twisted.internet.defer import Deferred

from tests.certificates import pem
from tests.components import require, requireComponent
from tests.integration.bridge import BridgeTestCase, authority, still
from tests.integration.client import Client, frame
from tests.integration.openssl import OpenSSLClient, library
from tests.integration.stream import Stream
from tests.integration.test_backpressure import Pour, takeBlocks
from tests.integration.twistd import Running, start

PLENTY = random.Random(3).randbytes(3_000_000)
"""More than the proxy holds."""


class ByHand:
    """
    Python's C{ssl}, in memory, on a connection that is plain. Stands in for a L{Stream} in a L{Client}.

    @ivar wire: the connection.
    @ivar tls: the client's side of TLS: Python's C{ssl}, unless another is given.
    @ivar cuts: sizes of the pieces in which TLS is sent, over and over; as it comes, without.
    """

    def __init__(self, wire: Stream, version: ssl.TLSVersion, tls: OpenSSLClient | None = None) -> None:
        context = ssl.create_default_context(cadata=pem(authority().certificate).decode())
        context.minimum_version = context.maximum_version = version
        self._in: Any
        self._out: Any
        self.tls: Any
        if tls is None:
            self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        else:
            self._in, self._out, self.tls = tls.incoming, tls.outgoing, tls
        self.wire = wire
        self.cuts: list[int] = []
        self._buffer = b""

    async def shakeHands(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
                self.wire.write(self._out.read())
                return
            except ssl.SSLWantReadError:
                self.wire.write(self._out.read())
                await self._receive()

    def sealed(self, data: bytes) -> bytes:
        """The records that carry this, not sent."""
        self.tls.write(data)
        return self._out.read()

    def write(self, data: bytes) -> None:
        self.wire.write(self.sealed(data))

    async def send(self, data: bytes) -> None:
        """Write, cut to pieces, each of which has left before the next."""
        records = self.sealed(data)
        at = 0
        while at < len(records):
            size = self.cuts[0]
            self.cuts.append(self.cuts.pop(0))
            await self.wire.send(records[at : at + size])
            at += size

    async def some(self) -> bytes:
        """What has come; nothing, once the proxy has said close_notify. @raise EOFError: it vanished without."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        while True:
            try:
                return bytes(self.tls.read(1 << 16))
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                self.wire.write(self._out.read())  # the answer to a post-handshake message
                await self._receive()

    async def exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            more = await self.some()
            if not more:
                raise EOFError(bytes(data))
            data += more
        self._buffer = bytes(data[size:])
        return bytes(data[:size])

    async def until(self, mark: bytes) -> bytes:
        data = b""
        while mark not in data:
            data += await self.exactly(1)
        return data

    async def _receive(self) -> None:
        data = await self.wire.some()
        if not data:
            raise EOFError
        self._in.write(data)


class SecureTests(BridgeTestCase):
    """Over TLS on a socket, which is pumped."""

    secure = True

    async def byHand(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[ByHand, Client, Stream]:
        """A session whose TLS is in our hands."""
        hand = ByHand(self.connect(secure=False), version)
        await hand.shakeHands()
        client = Client(cast(Any, hand))
        self.assertEqual((await client.upgrade()).status, 101)
        return hand, client, await self.target.accept()

    async def closing(self, hand: ByHand) -> str:
        """The session's last line in the log."""
        return await self.ending(Client(hand.wire))

    async def test_bothWays(self) -> None:
        """Much data passes unchanged in both directions, in TLS 1.2 and 1.3."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            _, client, target = await self.byHand(version)
            client.send(PLENTY)
            target.write(PLENTY)
            self.assertEqual(await client.exactly(len(PLENTY)), PLENTY)
            self.assertEqual(await target.exactly(len(PLENTY)), PLENTY)

    async def test_cutRecords(self) -> None:
        """Records that come in pieces, cut anywhere, are all the same."""
        cuts = random.Random(4)
        hand, _, target = await self.byHand()
        for longest, size in ((3, 300), (9000, 300_000), (100_000, 3_000_000)):
            hand.cuts = [cuts.randint(1, longest) for _ in range(97)]
            await hand.send(frame(PLENTY[:size]))
            self.assertEqual(await target.exactly(size), PLENTY[:size])

    async def test_early(self) -> None:
        """What comes in the same segment as the request, down to a part of a record, is neither lost nor repeated."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            hand = ByHand(self.connect(secure=False), version)
            await hand.shakeHands()
            held: list[bytes] = []

            class Held:
                """Keeps back the end of what is sent first."""

                def write(self, data: bytes, hand: ByHand = hand, held: list[bytes] = held) -> None:
                    records = hand.sealed(data) + b"".join(hand.sealed(frame(bytes([n] * 100))) for n in range(50))
                    hand.wire.write(records[:-60])
                    held.append(records[-60:])

                def __getattr__(self, name: str, hand: ByHand = hand) -> Any:
                    return getattr(hand, name)

            client = Client(cast(Any, Held()))
            self.assertEqual((await client.upgrade()).status, 101)
            target = await self.target.accept()
            self.assertEqual(await target.exactly(4900), b"".join(bytes([n] * 100) for n in range(49)))
            hand.wire.write(held[0])
            hand.write(frame(b"and on"))
            self.assertEqual(await target.exactly(106), bytes([49] * 100) + b"and on")

    async def test_vanishesMidRecord(self) -> None:
        """A client cut off in the middle of a record: its target gets the records before, and the end-of-file."""
        hand, _, target = await self.byHand()
        whole, half = hand.sealed(frame(b"whole")), hand.sealed(frame(b"half"))
        hand.wire.write(whole + half[:-1])
        self.assertEqual(await target.exactly(5), b"whole")
        hand.wire.finish()
        self.assertEqual(await target.rest(), b"")
        target.close()
        self.assertRegex(await self.closing(hand), "^closed by client: 1006 Client vanished; .* 5 bytes up, ")

    async def test_spoiltRecord(self) -> None:
        """A record that was tampered with ends the session with an alert; its target gets what came before."""
        hand, _, target = await self.byHand()
        good, spoilt = hand.sealed(frame(b"good")), hand.sealed(frame(b"evil"))
        hand.wire.write(good + spoilt[:-1] + bytes([spoilt[-1] ^ 1]))
        self.assertEqual(await target.rest(), b"good")
        target.close()
        with self.assertRaisesRegex(ssl.SSLError, "(?i)bad.record.mac"):
            await hand.some()
        self.assertRegex(await self.closing(hand), "^closed by client: 1006 ")

    async def test_closeNotify(self) -> None:
        """A client that says close_notify without a Close: its target gets all it sent, and it is answered alike."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            hand, _, target = await self.byHand(version)
            records = hand.sealed(frame(PLENTY))
            with self.assertRaises(ssl.SSLWantReadError):
                hand.tls.unwrap()
            hand.wire.write(records + hand._out.read())
            self.assertEqual(await target.rest(), PLENTY)
            target.close()
            self.assertEqual(await hand.some(), b"")
            self.assertEqual(await hand.wire.some(), b"")
            self.assertRegex(await self.closing(hand), f"^closed by client: 1006 .* {len(PLENTY)} bytes up, ")

    async def test_targetCloses(self) -> None:
        """A client gets all that its target wrote, the Close, and close_notify, in this order."""
        hand, client, target = await self.byHand()
        target.write(PLENTY)
        target.close()
        self.assertEqual(await client.rest(), (PLENTY, (1000, "Target closed")))
        client.close(1000)
        self.assertEqual(await hand.some(), b"")
        hand.wire.close()
        self.assertRegex(await self.closing(hand), f"^closed by target: 1000 .* {len(PLENTY)} bytes down$")

    async def openWithOpenSSL(self, version: str) -> tuple[Running, Stream]:
        """@return: OpenSSL's own client, in a session, and its target."""
        openssl = requireComponent("openssl")
        running = start(self, [openssl, "s_client", "-connect", f"127.0.0.1:{self.port}", version])
        await running.line("SSL handshake has read")
        assert running.transport is not None
        running.transport.write(_REQUEST)
        await running.line("101 Switching Protocols")
        return running, await self.target.accept()

    async def test_keyUpdate(self) -> None:
        """A client that asks for new keys gets them (RFC 8446 section 4.6.3), and the session goes on."""
        running, target = await self.openWithOpenSSL("-tls1_3")
        transport = running.transport
        assert transport is not None
        transport.write(b"K\n")
        await running.line("KEYUPDATE")
        for n in range(3):
            transport.write(b"\x82\x86\0\0\0\0" + b"up %d\r\n" % n)
            self.assertEqual(await target.exactly(6), b"up %d\r\n" % n)
            target.write(b"down %d\n" % n)
            await running.line(f"down {n}")

    async def test_keyUpdatesWhileBehind(self) -> None:
        """
        New keys asked for while the client is behind, again and again: the answers wait for room like everything else,
        and nothing is lost in either direction.
        """
        require("libssl", library)
        for more in (b"", PLENTY):
            hand = ByHand(
                self.connect(secure=False, receiveBuffer=65536), ssl.TLSVersion.TLSv1_3, OpenSSLClient(library())
            )
            await hand.shakeHands()
            client = Client(cast(Any, hand))
            self.assertEqual((await client.upgrade()).status, 101)
            target = await self.target.accept()
            sending = Pour(target, 16 << 20)
            await still(lambda sending=sending: sending.sent)
            said = [b"%d" % n + more for n in range(5)]
            for words in said:
                hand.tls.updateKeys()
                hand.write(frame(words))
            hearing = Deferred.fromCoroutine(target.exactly(len(b"".join(said))))
            await takeBlocks(client.some, 16 << 20)
            self.assertEqual(await hearing, b"".join(said))
            hand.write(frame(b"and on"))
            self.assertEqual(await target.exactly(6), b"and on")

    async def test_renegotiation(self) -> None:
        """A TLS 1.2 client that wants to renegotiate is refused; its target gets the end-of-file."""
        running, target = await self.openWithOpenSSL("-tls1_2")
        transport = running.transport
        assert transport is not None
        transport.write(b"R\n")
        self.assertEqual(await target.rest(), b"")
        outcome = await running.end()
        self.assertIn("no renegotiation", outcome.out + outcome.err)


class UnpumpedTests(SecureTests):
    """The same with C{--no-pump}, through transports."""

    arguments = ("--no-pump",)


_REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
