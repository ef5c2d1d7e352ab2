"""The subprotocol C{base64}, where bytes cannot be sent: each text message is complete base64 (RFC 4648).

L{Base64Decoder} is the L{TextDecoder<wsproxy.wire.frames.TextDecoder>} of such a session.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64

from wsproxy.errors import CloseCode, WireError

__all__ = ["Base64Decoder", "encode"]

_digits = re.compile(rb"[A-Za-z0-9+/]*+")
_padded = re.compile(rb"[A-Za-z0-9+/]{2}(?:==|[A-Za-z0-9+/]=)")
_started = re.compile(rb"[A-Za-z0-9+/]{0,3}|[A-Za-z0-9+/]{2}=")


class Base64Decoder:
    """Decodes messages as they arrive, in groups of four digits; up to three characters wait for their group.

    Strict: no character outside of the alphabet of RFC 4648 section 4, line ends included; padding required,
    and only at the end of the message.

    @ivar error: 1007, once a message broke these rules.
    """

    __slots__ = ("_ended", "_rest", "error")

    def __init__(self) -> None:
        self._rest = b""
        self._ended = False  # by padding
        self.error: WireError | None = None

    def decode(self, data: bytes, final: bool) -> bytes:
        """
        @param data: the next characters of a message, split anywhere.
        @param final: whether the message ends with them.
        @return: the bytes they stand for, up to the first group that breaks the rules.
        """
        data = self._rest + data
        end = 0
        if not self._ended:
            end = _digits.match(data).end() & ~3  # type: ignore[union-attr]  # no digits match too
            if _padded.match(data, end):
                end += 4
                self._ended = True
        self._rest = data[end:]
        allowed = not self._rest if self._ended or final else _started.fullmatch(self._rest)
        if not allowed:
            self.error = WireError(CloseCode.INVALID_DATA, "Invalid base64 in a text message")
        if final:
            self._ended = False
        return a2b_base64(data[:end])


def encode(data: bytes | memoryview) -> bytes:
    """C{data} as one message: base64 with padding, no line ends."""
    return b2a_base64(data, newline=False)
