"""What servers send, and what they are sent: beside C{websockets}' own codec, and each rule of RFC 6455 section 5."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol

from wsproxy.errors import Close, CloseCode
from wsproxy.wire.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT
from wsproxy.wire.serverframes import ClientWire, ServerFrameDecoder, clientWireOf, maskedFrame


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = False) -> bytes:
    first, size = fin << 7 | rsv << 4 | opcode, len(payload)
    if size < 126:
        head = bytes([first, masked << 7 | size])
    elif size < 65536:
        head = struct.pack("!BBH", first, masked << 7 | 126, size)
    else:
        head = struct.pack("!BBQ", first, masked << 7 | 127, size)
    return head + (bytes(4) if masked else b"") + payload


def feed(decoder: ServerFrameDecoder, stream: bytes, size: int) -> bytes:
    """What comes out of a stream that arrives in pieces of this size."""
    chunks = [bytes(chunk) for at in range(0, len(stream), size) for chunk in decoder.feed(stream[at : at + size])]
    assert all(chunks)
    return b"".join(chunks)


class DecoderTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.binary(max_size=300), max_size=6), st.integers(1, 400))
    def test_anySplit(self, messages: list[bytes], size: int) -> None:
        """Payload is the same however the stream was split, with control frames between fragments."""
        stream = b""
        for message in messages:
            half = len(message) // 2
            stream += frame(BINARY, message[:half], fin=False) + frame(PING, b"?")
            stream += frame(CONTINUATION, message[half:])
        decoder = ServerFrameDecoder()
        self.assertEqual(feed(decoder, stream, size), b"".join(messages))
        self.assertIsNone(decoder.error)
        self.assertEqual(decoder.takePing(), b"?" if messages else None)
        self.assertFalse(decoder.due)

    def test_lengths(self) -> None:
        """Lengths of 7, 16 and 64 bits."""
        for size in (0, 1, 125, 126, 65535, 65536, 200_000):
            self.assertEqual(feed(ServerFrameDecoder(), frame(BINARY, b"x" * size), 60_000), b"x" * size)

    def test_text(self) -> None:
        """A target's text is its bytes; where that is no UTF-8, it ends with 1007."""
        wire = ClientWire()
        self.assertEqual(feed(wire, frame(TEXT, "déjà".encode()), 1), "déjà".encode())
        self.assertEqual(feed(wire, frame(TEXT, b"ok\xff"), 100), b"ok")
        assert wire.error is not None
        self.assertEqual(wire.error.close.code, CloseCode.INVALID_DATA)

    def test_rules(self) -> None:
        """What breaks the rules ends with 1002, wherever the stream was split; what follows it is not payload."""
        wrong = [
            frame(BINARY, b"x", masked=True),
            frame(BINARY, b"x", rsv=1),
            frame(3, b"x"),
            frame(11),
            frame(CONTINUATION, b"x"),
            frame(PING, fin=False),
            frame(PING, b"x" * 126),
            bytes([0x82, 126, 0, 5]) + b"x" * 5,
            bytes([0x82, 127]) + bytes(7) + b"\5" + b"x" * 5,
            frame(CLOSE, b"\3"),
            frame(CLOSE, (1005).to_bytes(2, "big")),
            frame(CLOSE, (1015).to_bytes(2, "big")),
        ]
        for bytes_ in wrong:
            for size in (1, 1000):
                decoder = ServerFrameDecoder()
                self.assertEqual(feed(decoder, frame(BINARY, b"good") + bytes_ + frame(BINARY, b"bad"), size), b"good")
                assert decoder.error is not None, bytes_
                self.assertEqual(decoder.error.close.code, CloseCode.PROTOCOL_ERROR)

    def test_close(self) -> None:
        """A Close is read with its code and reason, 1014 included, which servers alone may send; nothing after it."""
        for code, reason in ((1000, "bye"), (1014, ""), (4404, "é")):
            decoder = ServerFrameDecoder()
            stream = frame(CLOSE, code.to_bytes(2, "big") + reason.encode()) + frame(BINARY, b"late")
            self.assertEqual(feed(decoder, stream, 3), b"")
            self.assertEqual(decoder.closed, Close(code, reason))
        decoder = ServerFrameDecoder()
        decoder.feed(frame(CLOSE))
        self.assertEqual(decoder.closed, Close(CloseCode.NO_STATUS))


class EncoderTests(SynchronousTestCase):
    def test_frames(self) -> None:
        """A server's library reads what is sent: payload of every length, pings, pongs and Closes."""
        wire = ClientWire()
        wire.feed(frame(PING, b"hello"))
        pong = wire.pong()
        assert pong is not None
        server = Protocol(SERVER, max_size=None)
        sent = [wire.send([b"x" * (size // 2), b"y" * (size - size // 2)]) for size in (1, 125, 126, 65535, 65536)]
        server.receive_data(b"".join([*sent, wire.ping(), pong, wire.close(Close(4000, "idle"))]))
        events = [event for event in server.events_received() if isinstance(event, Frame)]
        self.assertEqual([len(event.data) for event in events[:5]], [1, 125, 126, 65535, 65536])
        self.assertEqual([event.opcode for event in events[5:]], [Opcode.PING, Opcode.PONG, Opcode.CLOSE])
        self.assertEqual(events[6].data, b"hello")
        assert server.close_rcvd is not None
        self.assertEqual((server.close_rcvd.code, server.close_rcvd.reason), (4000, "idle"))

    def test_keys(self) -> None:
        """No two frames in a row have the same key, also where new ones are fetched."""
        keys = [maskedFrame(b"")[2:6] for _ in range(3000)]
        self.assertGreater(len(set(keys)), 2990)

    def test_base64(self) -> None:
        """Under the subprotocol base64 messages are text, both ways, and binary ones an error."""
        wire = clientWireOf("base64")
        self.assertEqual(feed(wire, frame(TEXT, b"aGVsbG8="), 3), b"hello")
        self.assertEqual(wire.send([b"hel", b"lo"])[:1], bytes([0x80 | TEXT]))
        wire.feed(frame(BINARY, b"x"))
        assert wire.error is not None
        self.assertEqual(wire.error.close.code, CloseCode.UNSUPPORTED_DATA)
