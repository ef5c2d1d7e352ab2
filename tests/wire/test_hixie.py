"""The wire of the drafts of 2010."""

from __future__ import annotations

from base64 import b64decode, b64encode

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.errors import Close, CloseCode
from wsproxy.wire.hixie import HixieWire
from wsproxy.wire.subprotocol import Draft, wireOf


def message(payload: bytes) -> bytes:
    return b"\0" + b64encode(payload) + b"\xff"


class HixieWireTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.wire = HixieWire(closes=True)

    def receive(self, data: bytes) -> bytes:
        return b"".join(self.wire.receive(data))

    def assertBroken(self, data: bytes, code: CloseCode, reason: str, first: bytes = b"") -> None:
        self.assertEqual(self.receive(data), first)
        assert self.wire.error is not None
        self.assertEqual(self.wire.error.close, Close(code, reason))
        self.assertTrue(self.wire.due)

    def test_receive(self) -> None:
        """Messages become one stream of bytes; one may be empty, and each is base64 that is whole in itself."""
        self.assertEqual(self.receive(message(b"a") + message(b"") + message(b"bc" * 1000)), b"a" + b"bc" * 1000)
        self.assertFalse(self.wire.partial)
        self.assertFalse(self.wire.due)

    @given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(1, 30), min_size=1, max_size=9))
    def test_split(self, payloads: list[bytes], sizes: list[int]) -> None:
        """However they are cut, and be they views that are overwritten afterwards."""
        wire = HixieWire(closes=True)
        data, received, turn = b"".join(map(message, payloads)) + b"\xff\0", b"", 0
        while data:
            size = sizes[turn % len(sizes)]
            buffer, data, turn = bytearray(data[:size]), data[size:], turn + 1
            chunks = wire.receive(memoryview(buffer))
            buffer[:] = bytes(len(buffer))
            received += b"".join(chunks)
            self.assertIsNone(wire.error)
        self.assertEqual(received, b"".join(payloads))
        self.assertEqual(wire.closed, Close(CloseCode.NO_STATUS))

    def test_partial(self) -> None:
        """A message of any size is passed on as it comes."""
        self.assertEqual(self.receive(b"\0" + b64encode(b"abcdef")[:5]), b"abc")
        self.assertTrue(self.wire.partial)
        self.assertEqual(self.receive(b64encode(b"abcdef")[5:] + b"\xff"), b"def")
        self.assertFalse(self.wire.partial)

    def test_send(self) -> None:
        """What is sent at once is one message, from bytes or from a view; in it is no byte that could end it."""
        for size in (1, 2, 3, 70000):
            data = b"\xff" * size
            for buffer in (data, memoryview(data)):
                sent = b"".join(self.wire.send(buffer))
                self.assertEqual((sent[:1], sent[-1:], sent.count(b"\xff")), (b"\0", b"\xff", 1))
                self.assertEqual(b64decode(sent[1:-1], validate=True), data)

    def test_close(self) -> None:
        """A client's Close is noticed behind what came before; nothing is received after it."""
        self.assertEqual(self.receive(message(b"x") + b"\xff\0" + message(b"y")), b"x")
        self.assertEqual(self.wire.closed, Close(CloseCode.NO_STATUS))
        self.assertTrue(self.wire.due)
        self.assertEqual(self.wire.close(Close(CloseCode.NORMAL, "Target closed")), b"\xff\0")

    def test_noClose(self) -> None:
        """In draft 75 there is nothing to be said of the end."""
        self.assertEqual(HixieWire(closes=False).close(Close(CloseCode.NORMAL)), b"")

    def test_pings(self) -> None:
        """There are none, either way."""
        self.assertIsNone(self.wire.ping(b"beat"))
        self.assertIsNone(self.wire.pong())

    def test_base64(self) -> None:
        """What is no base64, or not all of it, is an error behind what came before."""
        for text in (b"AB", b"A===", b"AA==AA==", b"QUJD QUJD", b"caf\xc3\xa9", b"\0\0\0\0"):
            self.wire = HixieWire(closes=True)
            reason = "Invalid base64 in a text message"
            first = b"ABC" if text.startswith(b"QUJD") else b"\0" if text.startswith(b"AA==") else b""
            self.assertBroken(message(b"x") + b"\0" + text + b"\xff", CloseCode.INVALID_DATA, reason, b"x" + first)

    def test_binary(self) -> None:
        """What the drafts reserve for bytes nobody may send."""
        reason = "Only text messages are accepted here"
        for start in (b"\x80\x03abc", b"\xff\x01a", b"\x80\x00", b"\x80\x81\x00"):
            self.wire = HixieWire(closes=True)
            self.assertBroken(message(b"x") + start, CloseCode.UNSUPPORTED_DATA, reason, b"x")

    def test_reserved(self) -> None:
        """Nor other types of text."""
        for kind in (1, 0x7F):
            self.wire = HixieWire(closes=True)
            self.assertBroken(bytes([kind]) + b"x\xff", CloseCode.PROTOCOL_ERROR, "Reserved frame type")

    def test_endless(self) -> None:
        """A length that never ends is cut off, and what comes then is nobody's: no memory, no time."""
        self.assertBroken(b"\x80" + b"\xff" * 100, CloseCode.PROTOCOL_ERROR, "Frame length beyond 63 bits")
        self.assertEqual(self.receive(b"\xff\0" * 10), b"")
        self.assertFalse(self.wire.answered)

    def test_answered(self) -> None:
        """After an error the client's Close is found, wherever its last frame ends, and nothing else is taken."""
        for broken, end in ((b"\0*", b"\xff"), (b"\x80\x05ab", b"\xff\0c"), (b"\x07", b"\xff"), (b"\x80\x00", b"")):
            self.wire = HixieWire(closes=True)
            self.receive(broken)
            self.assertIsNotNone(self.wire.error)
            self.assertEqual(self.receive(end + message(b"no") + b"\0*\xff\x80\x02\xff\0"), b"")
            self.assertFalse(self.wire.answered)
            self.assertEqual(self.receive(b"\xff\0" + message(b"no")), b"")
            self.assertTrue(self.wire.answered)
            self.assertIsNone(self.wire.closed)

    def test_drafts(self) -> None:
        """It is that of both drafts, whatever subprotocol there is; from draft 76 on it closes."""
        for draft, last in ((Draft.HIXIE_75, b""), (Draft.HIXIE_76, b"\xff\0")):
            for subprotocol in (None, "base64", "mqtt"):
                wire = wireOf(subprotocol, text=True, raw=False, draft=draft)
                self.assertEqual(b"".join(wire.send(b"abc")), b"\0YWJj\xff")
                self.assertEqual(wire.close(Close(CloseCode.NORMAL)), last)
