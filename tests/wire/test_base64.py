"""The base64 subprotocol: strict messages, decoded as a stream."""

from __future__ import annotations

import base64
import binascii

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.errors import CloseCode
from wsproxy.wire.base64 import Base64Decoder, encode

reproducible = settings(derandomize=True, database=None, deadline=None, max_examples=200)

# mostly digits and padding, so that most messages are nearly right
scribbles = st.text("AQgw+/==\n-é", max_size=14).map(str.encode)


def decodeSplit(messages: list[bytes], cuts: list[int]) -> tuple[bytes, bool]:
    """Decode C{messages}, each cut at these offsets; what came out, and whether all were right."""
    decoder = Base64Decoder()
    out = b""
    for message in messages:
        edges = [0, *sorted(min(cut, len(message)) for cut in cuts), len(message)]
        for i in range(1, len(edges)):
            out += decoder.decode(message[edges[i - 1] : edges[i]], i == len(edges) - 1)
            if decoder.error is not None:
                return out, False
    return out, True


class Base64DecoderTests(SynchronousTestCase):
    """L{Base64Decoder}."""

    @reproducible
    @given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 60), max_size=6))
    def test_stream(self, chunks: list[bytes], cuts: list[int]) -> None:
        """Messages decode to the bytes that were encoded, wherever they are split."""
        messages = [base64.b64encode(chunk) for chunk in chunks]
        self.assertEqual(decodeSplit(messages, cuts), (b"".join(chunks), True))

    @reproducible
    @given(scribbles)
    def test_verdict(self, message: bytes) -> None:
        """What is accepted is what the standard library accepts in whole groups."""
        try:
            # strict mode alone overlooks padding after a complete group: AAAA=
            expected = binascii.a2b_base64(message, strict_mode=True)
        except binascii.Error:
            legal = False
        else:
            legal = len(message) % 4 == 0 and len(message) == len(base64.b64encode(expected))
        decoded, accepted = decodeSplit([message], [])
        self.assertEqual(accepted, legal)
        if legal:
            self.assertEqual(decoded, expected)

    @reproducible
    @given(st.lists(scribbles, max_size=3), st.lists(st.integers(0, 14), max_size=6))
    def test_anySplit(self, messages: list[bytes], cuts: list[int]) -> None:
        """The bytes before an error, and whether there is one, do not depend on the split."""
        self.assertEqual(decodeSplit(messages, cuts), decodeSplit(messages, []))

    def assertRefused(self, message: bytes, before: bytes) -> None:
        decoder = Base64Decoder()
        self.assertEqual(decoder.decode(message, True), before)
        assert decoder.error is not None
        self.assertEqual(decoder.error.close.code, CloseCode.INVALID_DATA)

    def test_alphabet(self) -> None:
        """A character outside of the alphabet, even a line end, is an error; what is before it is decoded."""
        self.assertRefused(b"YWJjZG-m", b"abc")
        self.assertRefused(b"YWJj\r\nZGVm", b"abc")
        self.assertRefused(b"YWJjZGVm\n", b"abcdef")

    def test_padding(self) -> None:
        """Padding is required, only at the end of a message, and never more than two characters."""
        for message in (b"YWJjZA", b"YWJjZA=", b"YWJj=", b"YWJj====", b"YWJjZ===", b"YWJj=ZA="):
            with self.subTest(message):
                self.assertRefused(message, b"abc")
        self.assertRefused(b"YWJjZA===", b"abcd")

    def test_afterPadding(self) -> None:
        """Nothing of a message may follow its padding, but the next message may."""
        self.assertRefused(b"ZA==YWJj", b"d")
        self.assertEqual(decodeSplit([b"ZA==", b"YWJj"], []), (b"dabc", True))

    def test_early(self) -> None:
        """An error is found when its character arrives, not at the end of the message."""
        decoder = Base64Decoder()
        self.assertEqual(decoder.decode(b"YWJjZ!", False), b"abc")
        self.assertIsNotNone(decoder.error)

    def test_empty(self) -> None:
        """An empty message is zero bytes."""
        self.assertEqual(decodeSplit([b""], []), (b"", True))


class EncodeTests(SynchronousTestCase):
    """L{encode}."""

    @reproducible
    @given(st.binary(max_size=200))
    def test_reference(self, data: bytes) -> None:
        """One complete message as the standard library encodes it, from bytes or from a view."""
        self.assertEqual(encode(data), base64.b64encode(data))
        self.assertEqual(encode(memoryview(data)), base64.b64encode(data))
