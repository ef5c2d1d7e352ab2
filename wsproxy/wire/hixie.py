r"""The wire of the first WebSockets: draft-hixie-thewebsocketprotocol-75 and -76, section 5.3 of the latter.

::

    00 ~~ text ~~ ff                a message; UTF-8 has no byte ff
    80-ff, length, data             what nobody ever sent; the length has seven bits a byte, the high bit says go on
    ff 00                           the closing handshake, from draft 76 on: the above, with nothing in it

Text alone is carried, so that bytes go as base64 in it, whatever subprotocol is agreed on, as websockify had it. There
are no pings, no masks, no codes and no reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from wsproxy.errors import Close, CloseCode, WireError
from wsproxy.wire import base64

__all__ = ["HixieWire"]

_TEXT, _END, _CLOSE = b"\x00", b"\xff", b"\xff\x00"
_LONGEST = 1 << 63
"""No length goes on for ever."""


class _Inside(Enum):
    """Of what the next byte is."""

    NOTHING = "the type of the next frame"
    TEXT = "up to the byte ff"
    LENGTH = "a length"
    DATA = "as many bytes as that"
    NONSENSE = "nobody knows where the next frame is"


class HixieWire:
    """
    @param closes: whether there is a closing handshake; without it only the end of the connection tells.
    """

    __slots__ = ("_closes", "_inside", "_kind", "_left", "_text", "answered", "closed", "due", "error")

    plain = False

    def __init__(self, closes: bool) -> None:
        self._closes = closes
        self._text = base64.Base64Decoder()
        self._inside = _Inside.NOTHING
        self._kind = 0
        self._left = 0
        self.closed: Close | None = None
        self.error: WireError | None = None
        self.answered = False
        self.due = False

    @property
    def partial(self) -> bool:
        return self._inside is not _Inside.NOTHING

    def receive(self, data: bytes | memoryview) -> Sequence[bytes]:
        data = bytes(data)
        chunks: list[bytes] = []
        at = 0
        while at < len(data) and self.closed is None and not self.answered:
            at = self._take(data, at, chunks)
        self.due = self.closed is not None or self.error is not None
        return chunks

    def _take(self, data: bytes, at: int, chunks: list[bytes]) -> int:
        """@return: the position behind what belongs together from C{at} on."""
        inside = self._inside
        if inside is _Inside.NOTHING:
            self._begin(data[at])
            return at + 1
        if inside is _Inside.TEXT:
            end = data.find(_END, at)
            self._decode(data[at:] if end < 0 else data[at:end], end >= 0, chunks)
            self._inside = _Inside.TEXT if end < 0 else _Inside.NOTHING
            return len(data) if end < 0 else end + 1
        if inside is _Inside.LENGTH:
            self._measure(data[at])
            return at + 1
        if inside is _Inside.DATA:
            taken = min(self._left, len(data) - at)
            self._left -= taken
            self._inside = _Inside.DATA if self._left else _Inside.NOTHING
            return at + taken
        return len(data)

    def _begin(self, kind: int) -> None:
        self._kind, self._left = kind, 0
        self._inside = _Inside.LENGTH if kind & 0x80 else _Inside.TEXT
        if 0 < kind < 0x80:
            self._fail(CloseCode.PROTOCOL_ERROR, "Reserved frame type")

    def _measure(self, byte: int) -> None:
        self._left = self._left << 7 | byte & 0x7F
        if self._left >= _LONGEST:
            self._inside = _Inside.NONSENSE
            self._fail(CloseCode.PROTOCOL_ERROR, "Frame length beyond 63 bits")
        elif not byte & 0x80:
            self._inside = _Inside.DATA if self._left else _Inside.NOTHING
            if self._kind == 0xFF and not self._left:
                self._close()
            else:
                self._fail(CloseCode.UNSUPPORTED_DATA, "Only text messages are accepted here")

    def _close(self) -> None:
        if self.error is None:
            self.closed = Close(CloseCode.NO_STATUS)
        else:
            self.answered = True

    def _decode(self, text: bytes, final: bool, chunks: list[bytes]) -> None:
        if self.error is not None:
            return
        payload = self._text.decode(text, final)
        if payload:
            chunks.append(payload)
        self.error = self._text.error

    def _fail(self, code: CloseCode, reason: str) -> None:
        if self.error is None:
            self.error = WireError(code, reason)

    def send(self, data: bytes | memoryview) -> Sequence[bytes]:
        return _TEXT, base64.encode(data), _END

    def ping(self, payload: bytes) -> None:
        return None

    def pong(self) -> None:
        return None

    def takePong(self) -> bool:
        return False

    def close(self, close: Close) -> bytes:
        return _CLOSE if self._closes else b""
