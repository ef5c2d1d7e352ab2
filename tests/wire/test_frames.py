"""Frames: each rule of RFC 6455 section 5 by itself. The sections in brackets are of that RFC."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase
from websockets.protocol import Protocol, Side
from wsproto.frame_protocol import FrameProtocol

from tests.tunnel.client import Frame, Verdict, decode
from wsproxy.errors import Close, CloseCode
from wsproxy.wire.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameDecoder,
    UTF8Decoder,
    closeFrame,
    header,
    ping,
    pong,
)


class AnswerTests(SynchronousTestCase):
    """The Close of a client that has broken the protocol, among what it had sent before it knew (7.1.1)."""

    WRONG = (
        Frame(BINARY, b"x", masked=False),
        Frame(BINARY, b"x" * 300, rsv=1),
        Frame(TEXT, b"good \xff bad"),
        Frame(TEXT, b"\xff" + b"x" * 70000),
        Frame(BINARY, b"x", form=8),
        Frame(PING, b"x" * 126),
        Frame(3, b"x"),
    )

    def test_found(self) -> None:
        """It is found behind frames of all sizes, however all of it is split, and no sooner than it is there."""
        behind = [Frame(BINARY, b"x" * size) for size in (0, 1, 125, 126, 70000)]
        behind += [Frame(TEXT, b"\xff", fin=False), Frame(PING, b"?"), Frame(BINARY, masked=False)]
        others = b"".join(frame.encode() for frame in behind)
        for wrong in self.WRONG:
            stream = wrong.encode() + others
            for size in (1, 7, 1000, 1 << 20):
                if size == 1 and len(stream) > 100_000:
                    continue
                decoder = FrameDecoder(UTF8Decoder())
                for at in range(0, len(stream), size):
                    decoder.feed(stream[at : at + size])
                self.assertIsNotNone(decoder.error)
                self.assertFalse(decoder.answered)
                for byte in Frame(CLOSE, b"\x03\xea").encode()[:3]:
                    decoder.feed(bytes([byte]))
                self.assertTrue(decoder.answered)
                self.assertIsNone(decoder.closed)

    def test_behind(self) -> None:
        """What comes behind the Close does not take it back."""
        for wrong in self.WRONG:
            decoder = FrameDecoder(UTF8Decoder())
            decoder.feed(wrong.encode() + Frame(CLOSE, b"\x03\xea").encode() + Frame(BINARY, b"x").encode())
            self.assertTrue(decoder.answered)
            decoder.feed(Frame(BINARY, b"x").encode())
            self.assertTrue(decoder.answered)

    def test_badClose(self) -> None:
        """A bad Close is one all the same."""
        decoder = FrameDecoder(UTF8Decoder())
        decoder.feed(Frame(CLOSE, b"\x00").encode())
        self.assertIsNotNone(decoder.error)
        self.assertTrue(decoder.answered)

    def test_none(self) -> None:
        """Without an error nothing is looked for: the Close is itself."""
        decoder = FrameDecoder(UTF8Decoder())
        decoder.feed(Frame(CLOSE).encode() * 2)
        decoder.feed(Frame(CLOSE).encode())
        self.assertIsNotNone(decoder.closed)
        self.assertFalse(decoder.answered)


class RuleTests(SynchronousTestCase):
    """What is refused, and with which close code."""

    def assertRefused(
        self,
        wrong: bytes,
        code: CloseCode = CloseCode.PROTOCOL_ERROR,
        before: bytes = Frame(BINARY, b"before").encode(),
        payload: bytes = b"before",
        decoder: type[UTF8Decoder] | None = UTF8Decoder,
    ) -> None:
        """C{wrong} is refused after C{before}, which is still delivered; nothing after it is."""
        after = Frame(BINARY, b"after", key=b"\0\0\0\0").encode()
        stream = before + wrong
        for pieces in ([stream + after], [stream, after], [stream[i : i + 1] for i in range(len(stream))]):
            verdict = decode(pieces, FrameDecoder(decoder() if decoder is not None else None))
            self.assertEqual(verdict, Verdict(payload, None, None, code))

    def test_unmasked(self) -> None:
        """A frame without a mask is refused, even an empty one, as soon as its two bytes are there (5.1)."""
        self.assertRefused(Frame(BINARY, b"x", masked=False).encode())
        self.assertRefused(b"\x82\x00")

    def test_reservedBits(self) -> None:
        """No extension was negotiated, so no reserved bit may be set (5.2)."""
        for rsv in range(1, 8):
            self.assertRefused(Frame(BINARY, b"x", rsv=rsv).encode())

    def test_reservedOpcodes(self) -> None:
        """Opcodes 3 to 7 and 11 to 15 are refused (5.2)."""
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
            self.assertRefused(Frame(opcode, b"x").encode())

    def test_fragmentedControl(self) -> None:
        """Control frames are not fragmented (5.5)."""
        for opcode in (CLOSE, PING, PONG):
            self.assertRefused(Frame(opcode, fin=False).encode())

    def test_longControl(self) -> None:
        """Control frames have at most 125 bytes of payload (5.5)."""
        for opcode in (CLOSE, PING, PONG):
            self.assertRefused(Frame(opcode, b"\x03\xe8" + bytes(124)).encode())

    def test_continuationOfNothing(self) -> None:
        """A continuation needs a message to continue (5.4)."""
        for fin in (False, True):
            self.assertRefused(Frame(CONTINUATION, b"x", fin=fin).encode())

    def test_messageInMessage(self) -> None:
        """A fragmented message is finished before another begins (5.4)."""
        for opcode in (BINARY, TEXT):
            started = Frame(BINARY, b"before", fin=False).encode()
            self.assertRefused(Frame(opcode, b"x").encode(), before=started)

    def test_shortestLength(self) -> None:
        """A length takes as few bytes as it can (5.2)."""
        for size, form in ((0, 2), (125, 2), (0, 8), (126, 8), (0xFFFF, 8)):
            self.assertRefused(Frame(BINARY, bytes(size), form=form).encode()[:14])

    def test_length63(self) -> None:
        """The highest bit of a 64-bit length is zero (5.2)."""
        self.assertRefused(b"\x82\xff\x80" + bytes(7) + b"key!")

    def test_textRefused(self) -> None:
        """Where only binary messages are accepted, text is refused with 1003, even if empty."""
        for payload in (b"", b"text"):
            self.assertRefused(Frame(TEXT, payload).encode(), CloseCode.UNSUPPORTED_DATA, decoder=None)

    def test_binaryRefused(self) -> None:
        """Where only text messages are accepted, binary is refused with 1003, even if empty."""
        for payload in (b"", b"x", bytes(126), bytes(0x10000)):
            stream = Frame(TEXT, b"before").encode() + Frame(BINARY, payload).encode()
            verdict = decode([stream], FrameDecoder(UTF8Decoder(), binary=False))
            self.assertEqual(verdict, Verdict(b"before", None, None, CloseCode.UNSUPPORTED_DATA))

    def test_textUTF8(self) -> None:
        """Text that is not UTF-8 is refused with 1007; the characters before are delivered (8.1)."""
        for wrong in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"):
            with self.subTest(wrong):
                text = Frame(TEXT, "é".encode() + wrong).encode()
                self.assertRefused(text, CloseCode.INVALID_DATA, payload="beforeé".encode())

    def test_closePayload(self) -> None:
        """A Close has no payload, or at least the two bytes of a code (5.5.1)."""
        self.assertRefused(Frame(CLOSE, b"\x03").encode())

    def test_closeCodes(self) -> None:
        """Codes that nobody may send, or that mean nothing yet, are refused (7.4)."""
        for code in (0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, 65535):
            self.assertRefused(Frame(CLOSE, struct.pack("!H", code)).encode())

    def test_closeReason(self) -> None:
        """A close reason that is not UTF-8, or ends within a character, is refused with 1007 (5.5.1)."""
        for reason in (b"\xff", b"\xe2\x82"):
            self.assertRefused(Frame(CLOSE, b"\x03\xe8" + reason).encode(), CloseCode.INVALID_DATA)


class FrameDecoderTests(SynchronousTestCase):
    """What is accepted, and what can be asked afterwards."""

    def setUp(self) -> None:
        self.decoder = FrameDecoder(UTF8Decoder())

    def test_streams(self) -> None:
        """Payload is delivered as it arrives, from a frame of any size: there is nothing to wait for."""
        terabyte = b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"\0\0\0\0"
        self.assertEqual(self.decoder.feed(terabyte), [])
        for piece in (b"a", b"bcde", b"f" * 0x10000):
            self.assertEqual(self.decoder.feed(piece), [piece])

    def test_closed(self) -> None:
        """The Close is read with its code and reason; payload before it is delivered, nothing after it."""
        stream = Frame(BINARY, b"x").encode() + Frame(CLOSE, b"\x0f\xa0bye \xe2\x82\xac").encode()
        self.assertEqual(self.decoder.feed(stream + Frame(BINARY, b"y").encode()), [b"x"])
        self.assertEqual(self.decoder.closed, Close(4000, "bye €"))
        self.assertEqual(self.decoder.feed(Frame(BINARY, b"z", masked=False).encode()), [])
        self.assertIs(self.decoder.error, None)
        self.assertFalse(self.decoder.partial)

    def test_closedWithoutCode(self) -> None:
        """A Close without a payload has the code 1005 (7.1.5)."""
        self.decoder.feed(Frame(CLOSE).encode())
        self.assertEqual(self.decoder.closed, Close(CloseCode.NO_STATUS))

    def test_closeAmidMessage(self) -> None:
        """A Close is a control frame: it may come between the fragments of a message (5.5)."""
        stream = Frame(BINARY, b"x", fin=False).encode() + Frame(CLOSE, b"\x03\xe8").encode()
        self.assertEqual(self.decoder.feed(stream), [b"x"])
        self.assertEqual(self.decoder.closed, Close(CloseCode.NORMAL))

    def test_splits(self) -> None:
        """Wherever the frames of a message are cut in two, the same is delivered."""
        payloads = [b"x", b"", b"y" * 125, b"z" * 126, b"!" * 127]
        frames = [Frame(CONTINUATION if at else BINARY, payload, at == 4) for at, payload in enumerate(payloads)]
        stream = b"".join(frame.encode() for frame in frames)
        for at in range(len(stream)):
            decoder = FrameDecoder(UTF8Decoder())
            received = decoder.feed(stream[:at]) + decoder.feed(stream[at:])
            self.assertEqual((b"".join(received), decoder.error), (b"".join(payloads), None), at)
            self.assertFalse(decoder.partial)

    def test_limits(self) -> None:
        """The least and the most that each form of a length can say, arriving byte by byte."""
        for size in (0, 125, 126, 0xFFFF, 0x10000):
            stream = Frame(BINARY, bytes(size)).encode()
            received = [piece for at in range(20) for piece in self.decoder.feed(stream[at : at + 1])]
            received += self.decoder.feed(stream[20:])
            self.assertEqual((sum(map(len, received)), self.decoder.error), (size, None))

    def test_takePing(self) -> None:
        """Only the newest ping is to be answered, once; pongs are nothing (5.5.3)."""
        self.assertIs(self.decoder.takePing(), None)
        for frame in (Frame(PING, b"1"), Frame(PING, b"2"), Frame(PONG, b"3")):
            self.decoder.feed(frame.encode())
        self.assertEqual(self.decoder.takePing(), b"2")
        self.assertIs(self.decoder.takePing(), None)
        self.decoder.feed(Frame(PING).encode())
        self.assertEqual(self.decoder.takePing(), b"")

    def test_partial(self) -> None:
        """A feed that ends within a frame is partial: in its header, its payload or a control frame."""
        for frame in (Frame(BINARY, b"1234"), Frame(PING, b"1234"), Frame(BINARY, bytes(200))):
            stream = frame.encode()
            self.assertFalse(self.decoder.partial)
            for i in range(len(stream) - 1):
                self.decoder.feed(stream[i : i + 1])
                self.assertTrue(self.decoder.partial)
            self.decoder.feed(stream[-1:])
        self.assertFalse(self.decoder.partial)

    def test_characters(self) -> None:
        """A character of text split between fragments and reads is delivered whole."""
        fragments = (Frame(TEXT, b"\xe2", fin=False), Frame(CONTINUATION, b"\x82", fin=False))
        for frame in fragments:
            self.assertEqual(self.decoder.feed(frame.encode()), [])
        self.assertEqual(self.decoder.feed(Frame(CONTINUATION, b"\xac!").encode()), ["€!".encode()])


class EncoderTests(SynchronousTestCase):
    """What is sent, read by both oracles as clients."""

    def read(self, stream: bytes) -> list[tuple[int, bytes]]:
        """Opcodes and payloads of complete, final frames."""
        protocol = Protocol(Side.CLIENT, max_size=None)
        protocol.receive_data(stream)
        self.assertIs(protocol.parser_exc, None)
        read = [(int(frame.opcode), bytes(frame.data)) for frame in protocol.events_received()]

        oracle = FrameProtocol(client=True, extensions=[])
        oracle.receive_bytes(stream)
        for opcode, payload in read:
            frame = next(oracle.received_frames())
            self.assertTrue(frame.frame_finished and frame.message_finished)
            content = frame.payload
            if isinstance(content, tuple):
                code, reason = content
                content = b"" if code == CloseCode.NO_STATUS else struct.pack("!H", code) + reason.encode()
            if isinstance(content, str):
                content = content.encode()
            self.assertEqual((frame.opcode, content), (opcode, payload))
        return read

    def test_header(self) -> None:
        """A header and its payload are one frame, whatever the length."""
        for size in (0, 1, 125, 126, 0xFFFF, 0x10000, 1 << 20):
            payload = b"x" * size
            self.assertEqual(self.read(header(size) + payload), [(BINARY, payload)])
            self.assertEqual(self.read(header(size, TEXT) + payload), [(TEXT, payload)])

    def test_pingAndPong(self) -> None:
        """Pings and pongs carry their payload of up to 125 bytes."""
        for payload in (b"", b"x", bytes(125)):
            self.assertEqual(self.read(ping(payload)), [(PING, payload)])
            self.assertEqual(self.read(pong(payload)), [(PONG, payload)])

    def test_closeFrame(self) -> None:
        """A Close carries its code and reason."""
        self.assertEqual(self.read(closeFrame(Close(1000))), [(CLOSE, b"\x03\xe8")])
        self.assertEqual(self.read(closeFrame(Close(4000, "bye €"))), [(CLOSE, b"\x0f\xa0bye \xe2\x82\xac")])

    def test_closeFrameCut(self) -> None:
        """A reason of more than 123 bytes is cut where a character ends."""
        for reason, sent in (("x" * 124, "x" * 123), ("€" * 42, "€" * 41), ("x" + "€" * 41, "x" + "€" * 40)):
            payload = b"\x03\xf3" + sent.encode()
            self.assertEqual(self.read(closeFrame(Close(1011, reason))), [(CLOSE, payload)])

    def test_closeFrameWithoutCode(self) -> None:
        """Codes that are never on the wire make an empty Close."""
        for code in (CloseCode.NO_STATUS, CloseCode.ABNORMAL):
            self.assertEqual(self.read(closeFrame(Close(code, "ignored"))), [(CLOSE, b"")])

    def test_closeFrameSurrogates(self) -> None:
        """A reason with bytes that are not UTF-8, as paths may have, can still be sent."""
        self.assertEqual(self.read(closeFrame(Close(1011, "/run/\udcff"))), [(CLOSE, b"\x03\xf3/run/?")])
