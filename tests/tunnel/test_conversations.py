"""Whole conversations, right and wrong, and what two other implementations make of them.

The oracles are C{wsproto} and C{websockets}. With C{wsproto} every verdict agrees. C{websockets} is more
lenient or later in four places, which its comparison leaves out or translates:

    - it does not check the UTF-8 of text messages at this level, nor the form of a length;
    - it takes close code 1014, which neither C{wsproto} nor Autobahn does;
    - it looks at the close reason before the close code;
    - it takes a Close amid a fragmented message for an error, although RFC 6455 section 5.5 allows control
      frames there.
"""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from websockets.protocol import Protocol, Side
from wsproto.frame_protocol import FrameProtocol, ParseFailed

from tests.tunnel.client import Frame, Verdict, decode
from wsproxy.errors import Close, CloseCode, WireError
from wsproxy.wire.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, FrameDecoder, UTF8Decoder

reproducible = settings(derandomize=True, database=None, deadline=None, max_examples=300)


class AnyText:
    """Takes text messages as they are."""

    error: WireError | None = None

    def decode(self, data: bytes, final: bool) -> bytes:
        return data


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    return [stream[edges[i - 1] : edges[i]] for i in range(1, len(edges))]


def wsprotoVerdict(stream: bytes) -> Verdict:
    payload, pinged, closed, error = b"", None, None, None
    oracle = FrameProtocol(client=False, extensions=[])
    oracle.receive_bytes(stream)
    try:
        for frame in oracle.received_frames():
            content = frame.payload
            if frame.opcode == CLOSE:
                assert isinstance(content, tuple)
                closed = Close(*content)
                break  # asked for more, it would go on after the Close
            elif frame.opcode == PING:
                assert isinstance(content, bytes)
                pinged = content
            elif frame.opcode != PONG:
                assert isinstance(content, (bytes, str))
                payload += content.encode() if isinstance(content, str) else content
    except ParseFailed as e:
        error = int(e.code)
    return Verdict(payload, pinged, closed, error)


def websocketsVerdict(stream: bytes) -> Verdict:
    payload, pinged, closed, error = b"", None, None, None
    oracle = Protocol(Side.SERVER, max_size=None)
    oracle.receive_data(stream)
    for frame in oracle.events_received():
        if frame.opcode == PING:
            pinged = bytes(frame.data)
        elif frame.opcode <= BINARY:
            payload += frame.data
    if oracle.parser_exc is not None and str(oracle.parser_exc) != "incomplete fragmented message":
        assert oracle.close_sent is not None
        error = int(oracle.close_sent.code)
    elif oracle.close_rcvd is not None:
        closed = Close(oracle.close_rcvd.code, oracle.close_rcvd.reason)
    return Verdict(payload, pinged, closed, error)


binaries = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([124, 125, 126, 127, 1000, 0xFFFF, 0x10000]).map(lambda n: (b"%08d" % n * 8192)[:n]),
)
texts = st.text(max_size=20).map(str.encode)
goodCodes = st.sampled_from([*range(1000, 1004), *range(1007, 1014), 3000, 3999, 4000, 4999])
badCodes = st.sampled_from([0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65535])


def closePayload(codes: st.SearchStrategy[int], reasons: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(lambda code, reason: struct.pack("!H", code) + reason, codes, reasons)


closePayloads = st.one_of(
    st.just(b""),
    st.binary(min_size=1, max_size=1),
    closePayload(goodCodes, texts),
    closePayload(badCodes, texts),
    closePayload(goodCodes, st.binary(max_size=4)),
)
keys = st.binary(min_size=4, max_size=4)


@st.composite
def controls(draw: st.DrawFn, opcodes: list[int], payloads: st.SearchStrategy[bytes]) -> Frame:
    return Frame(draw(st.sampled_from(opcodes)), draw(payloads), key=draw(keys))


pings = controls([PING, PONG], st.binary(max_size=125))
closes = controls([CLOSE], st.just(b"") | closePayload(goodCodes, texts))


@st.composite
def conversations(draw: st.DrawFn) -> list[Frame]:
    """What a well-behaved client may send: messages in fragments, control frames in between."""
    frames: list[Frame] = []
    for _ in range(draw(st.integers(0, 4))):
        opcode = draw(st.sampled_from([BINARY, TEXT]))
        body = draw(binaries if opcode == BINARY else texts)
        pieces = split(body, draw(st.lists(st.integers(0, 20), max_size=3)))
        for i, piece in enumerate(pieces):
            fin = i == len(pieces) - 1
            frames.append(Frame(CONTINUATION if i else opcode, piece, fin, key=draw(keys)))
            frames += draw(st.lists(pings, max_size=1))
    if draw(st.booleans()):
        frames.insert(draw(st.integers(0, len(frames))), draw(closes))
    return frames


@st.composite
def mishaps(draw: st.DrawFn, forms: bool) -> bytes:
    """A conversation of which a frame or two may have gone wrong. C{forms}: by the form of a length too."""
    frames = draw(conversations())
    for _ in range(draw(st.integers(0, 2)) if frames else 0):
        at = draw(st.integers(0, len(frames) - 1))
        frame = frames[at]
        changes = ["opcode", "fin", "rsv", "masked", "close", "long", "garble"] + ["form"] * forms
        match draw(st.sampled_from(changes)):
            case "opcode":  # CLOSE has a case of its own
                frame = frame._replace(opcode=draw(st.sampled_from([*range(8), *range(9, 16)])))
            case "fin":
                frame = frame._replace(fin=not frame.fin)
            case "rsv":
                frame = frame._replace(rsv=draw(st.integers(1, 7)))
            case "masked":
                frame = frame._replace(masked=False)
            case "close":
                frame = frame._replace(opcode=CLOSE, payload=draw(closePayloads))
            case "long":
                frame = Frame(draw(st.sampled_from([CLOSE, PING, PONG])), bytes(126))
            case "garble" if frame.opcode != CLOSE:
                frame = frame._replace(payload=draw(st.binary(max_size=5)) + frame.payload[:100])
            case "form":
                frame = frame._replace(form=2 if len(frame.payload) < 126 else 8)
        frames[at] = frame
    return b"".join(frame.encode() for frame in frames)


class AgreementTests(SynchronousTestCase):
    """Conversations, right and wrong, and what others make of them."""

    @reproducible
    @given(conversations())
    def test_wellBehaved(self, frames: list[Frame]) -> None:
        """All payload of a well-behaved client arrives, and its Close is read: both oracles say the same."""
        stream = b"".join(frame.encode() for frame in frames)
        verdict = decode([stream], FrameDecoder(UTF8Decoder()))
        self.assertIs(verdict.error, None)
        self.assertEqual(verdict, wsprotoVerdict(stream))
        self.assertEqual(decode([stream], FrameDecoder(AnyText())), websocketsVerdict(stream))

    @reproducible
    @given(mishaps(forms=True))
    def test_wsproto(self, stream: bytes) -> None:
        """Payload, ping and verdict are those of wsproto; before bad UTF-8 there may be more of the text."""
        verdict = decode([stream], FrameDecoder(UTF8Decoder()))
        expected = wsprotoVerdict(stream)
        if expected.error == CloseCode.INVALID_DATA:
            self.assertTrue(verdict.payload.startswith(expected.payload))
            verdict = verdict._replace(payload=expected.payload)
        self.assertEqual(verdict, expected)

    @reproducible
    @given(mishaps(forms=False))
    def test_websockets(self, stream: bytes) -> None:
        """Payload, ping and verdict are those of websockets, which does not look into text."""
        self.assertEqual(decode([stream], FrameDecoder(AnyText())), websocketsVerdict(stream))

    @reproducible
    @given(mishaps(forms=True), st.lists(st.integers(0, 300), max_size=12))
    def test_anySplit(self, stream: bytes, cuts: list[int]) -> None:
        """Payload, ping and verdict do not depend on how the bytes are split."""
        whole = decode([stream], FrameDecoder(UTF8Decoder()))
        self.assertEqual(decode(split(stream, cuts), FrameDecoder(UTF8Decoder())), whole)
        if len(stream) < 1000:
            single = [stream[i : i + 1] for i in range(len(stream))]
            self.assertEqual(decode(single, FrameDecoder(UTF8Decoder())), whole)
