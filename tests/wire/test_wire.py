"""Wires: what the tunnel may expect of each language of a client."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from wsproxy.errors import Close, CloseCode
from wsproxy.wire.wire import Base64Wire, BinaryWire, RawWire, Wire


def fromClient(opcode: Opcode, payload: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=True)


def toClient(buffers: Sequence[bytes | memoryview]) -> list[tuple[Opcode, bytes]]:
    client = Protocol(Side.CLIENT, max_size=None)
    client.receive_data(b"".join(buffers))
    return [(frame.opcode, bytes(frame.data)) for frame in client.events_received()]


class WebSocketContract:
    """What the tunnel relies on, whatever the messages look like."""

    opcode: Opcode

    def build(self) -> Wire:
        raise NotImplementedError

    def wrap(self, data: bytes) -> bytes:
        """The payload of the message that stands for C{data}."""
        raise NotImplementedError

    def test_receive(self) -> None:
        """Messages become one stream of bytes, whether or not they are fragmented."""
        wire = self.build()
        message = self.wrap(b"second")
        stream = (
            fromClient(self.opcode, self.wrap(b"first "))
            + fromClient(self.opcode, message[:3], fin=False)
            + fromClient(Opcode.PONG, b"")
            + fromClient(Opcode.CONT, message[3:])
        )
        self.assertEqual(b"".join(wire.receive(stream)), b"first second")
        self.assertFalse(wire.partial)
        self.assertIs(wire.error, None)
        self.assertIs(wire.closed, None)

    def test_send(self) -> None:
        """What is sent at once is one message, from bytes or from a view."""
        for size in (1, 125, 126, 70000):
            data = b"x" * size
            for buffer in (data, memoryview(data)):
                self.assertEqual(toClient(self.build().send(buffer)), [(self.opcode, self.wrap(data))])

    def test_ping(self) -> None:
        """The client can be pinged."""
        frame = self.build().ping(b"beat")
        assert frame is not None
        self.assertEqual(toClient([frame]), [(Opcode.PING, b"beat")])

    def test_pong(self) -> None:
        """A ping is answered once, and of several the newest."""
        wire = self.build()
        self.assertIs(wire.pong(), None)
        stream = fromClient(Opcode.PING, b"1") + fromClient(Opcode.PING, b"2")
        self.assertEqual(list(wire.receive(stream)), [])
        frame = wire.pong()
        assert frame is not None
        self.assertEqual(toClient([frame]), [(Opcode.PONG, b"2")])
        self.assertIs(wire.pong(), None)

    def test_close(self) -> None:
        """The client is told the code and the reason."""
        close = self.build().close(Close(CloseCode.IDLE, "idle"))
        self.assertEqual(toClient([close]), [(Opcode.CLOSE, b"\x0f\xa0idle")])

    def test_closed(self) -> None:
        """The client's Close is read, and what it sends afterwards is ignored."""
        wire = self.build()
        message = fromClient(self.opcode, self.wrap(b"x"))
        stream = message + fromClient(Opcode.CLOSE, b"\x03\xe9bye") + message
        self.assertEqual(b"".join(wire.receive(stream)), b"x")
        self.assertEqual(wire.closed, Close(CloseCode.GOING_AWAY, "bye"))
        self.assertEqual(list(wire.receive(message)), [])

    def assertRefused(self, wire: Wire, wrong: bytes, code: CloseCode) -> None:
        message = fromClient(self.opcode, self.wrap(b"x"))
        self.assertEqual(b"".join(wire.receive(message + wrong + message)), b"x")
        assert wire.error is not None
        self.assertEqual(wire.error.close.code, code)
        self.assertEqual(list(wire.receive(message)), [])

    def test_error(self) -> None:
        """A broken frame is an error, after the payload before it."""
        self.assertRefused(self.build(), b"\xf2\x80", CloseCode.PROTOCOL_ERROR)


class BinaryWireTests(WebSocketContract, SynchronousTestCase):
    """L{BinaryWire}, which takes binary messages unless told otherwise."""

    opcode = Opcode.BINARY

    def build(self) -> Wire:
        return BinaryWire()

    def wrap(self, data: bytes) -> bytes:
        return data

    def test_textRefused(self) -> None:
        """Text messages are unsupported data."""
        self.assertRefused(self.build(), fromClient(Opcode.TEXT, b"t"), CloseCode.UNSUPPORTED_DATA)

    def test_text(self) -> None:
        """Where text messages are allowed, the target gets their UTF-8."""
        wire = BinaryWire(text=True)
        self.assertEqual(b"".join(wire.receive(fromClient(Opcode.TEXT, "é".encode()))), "é".encode())
        self.assertRefused(wire, fromClient(Opcode.TEXT, b"\xff"), CloseCode.INVALID_DATA)


class Base64WireTests(WebSocketContract, SynchronousTestCase):
    """L{Base64Wire}, which takes complete base64 in text messages."""

    opcode = Opcode.TEXT

    def build(self) -> Wire:
        return Base64Wire()

    def wrap(self, data: bytes) -> bytes:
        return base64.b64encode(data)

    def test_binaryRefused(self) -> None:
        """Binary messages are unsupported data."""
        self.assertRefused(self.build(), fromClient(Opcode.BINARY, b"eA=="), CloseCode.UNSUPPORTED_DATA)

    def test_incomplete(self) -> None:
        """A message that ends within a group of digits is invalid, though the next could complete it."""
        self.assertRefused(self.build(), fromClient(Opcode.TEXT, b"eA"), CloseCode.INVALID_DATA)

    def test_fragments(self) -> None:
        """Groups of digits may be split between fragments, not between messages."""
        wire = self.build()
        self.assertEqual(list(wire.receive(fromClient(Opcode.TEXT, b"eA", fin=False))), [])
        self.assertEqual(list(wire.receive(fromClient(Opcode.CONT, b"=="))), [b"x"])


class RawWireTests(SynchronousTestCase):
    """L{RawWire}, which is plain TCP."""

    def test_bytes(self) -> None:
        """Bytes pass both ways as they are, without a copy."""
        wire: Wire = RawWire()
        for data in (b"GET /", memoryview(b"\x88\x80")):
            for passed in (wire.receive(data), wire.send(data)):
                self.assertEqual(len(passed), 1)
                self.assertIs(passed[0], data)

    def test_nothingToSay(self) -> None:
        """There are no pings, no Close and no frames to break."""
        wire: Wire = RawWire()
        wire.receive(b"\x89\x80key!")
        self.assertIs(wire.ping(b""), None)
        self.assertIs(wire.pong(), None)
        self.assertEqual(wire.close(Close(CloseCode.NORMAL, "done")), b"")
        self.assertIs(wire.closed, None)
        self.assertIs(wire.error, None)
        self.assertFalse(wire.partial)
