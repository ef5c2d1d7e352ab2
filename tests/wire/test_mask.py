"""Masking: the C routine and its stand-in do what RFC 6455 section 5.3 says."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.wire.mask import mask, slowMask

reproducible = settings(derandomize=True, database=None, deadline=None, max_examples=100)


class MaskTests(SynchronousTestCase):
    """L{mask} and L{slowMask}."""

    @reproducible
    @given(st.binary(max_size=200), st.binary(min_size=4, max_size=4))
    def test_reference(self, data: bytes, key: bytes) -> None:
        """Byte i of the payload is XORed with byte i modulo 4 of the key, in any kind of buffer."""
        expected = bytes(byte ^ key[i % 4] for i, byte in enumerate(data))
        for routine in (mask, slowMask):
            for buffer in (data, bytearray(data), memoryview(b"x" + data)[1:]):
                masked = routine(buffer, key)
                self.assertIs(type(masked), bytes)
                self.assertEqual(masked, expected)

    def test_large(self) -> None:
        """Both agree on a payload of a mebibyte and three bytes, and masking twice gives it back."""
        data = bytes(range(256)) * 4096 + b"end"
        masked = slowMask(data, b"\x00\xff\x5a\x01")
        self.assertEqual(masked, mask(data, b"\x00\xff\x5a\x01"))
        self.assertEqual(slowMask(masked, b"\x00\xff\x5a\x01"), data)

    def test_withoutC(self) -> None:
        """Where websockets came without its C module, C{mask} is the Python routine."""
        spec = find_spec("wsproxy.wire.mask")
        assert spec is not None and spec.loader is not None
        fresh = module_from_spec(spec)
        with mock.patch.dict(sys.modules, {"websockets.speedups": None}):
            spec.loader.exec_module(fresh)
        self.assertIs(fresh.mask, fresh.slowMask)
