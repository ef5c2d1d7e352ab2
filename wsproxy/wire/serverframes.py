"""WebSocket frames, the client's side of RFC 6455 section 5: what servers send, and what they are sent.

Servers do not mask (section 5.1), so payload is handed on as views of what was read. What is sent to them is masked,
each frame under a key that nobody can foresee (section 5.3).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from struct import Struct

from wsproxy.errors import Close, WireError
from wsproxy.wire import base64
from wsproxy.wire.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameDecoder,
    TextDecoder,
    UTF8Decoder,
    closeFrame,
    protocolError,
)
from wsproxy.wire.mask import mask

__all__ = ["ClientWire", "ServerFrameDecoder", "clientWireOf", "maskedFrame"]

_KEYS = 1024
"""Masking keys that the kernel is asked for at a time: a system call for each would cost 0.4 µs of every frame."""


class ServerFrameDecoder(FrameDecoder):
    """The frames of one server. Payload may be views of what was fed."""

    __slots__ = ()

    _lastCode = 1014

    def feed(self, data: bytes | memoryview) -> list[bytes | memoryview]:  # type: ignore[override]  # views, too
        """See L{FrameDecoder.feed}. @param data: not to be overwritten while there are views of it."""
        chunks: list[bytes | memoryview] = []
        if self.error is not None or self.closed is not None:
            if self.closed is None:
                self._passOver(data)
            return chunks
        if self._start:
            data = b"".join((self._start, data))
            self._start = b""
        at = self._payload(data, 0, chunks) if self._left else 0  # type: ignore[arg-type]  # views, too
        while at < len(data):
            at = self._frame(data, at, chunks)  # type: ignore[arg-type]  # views, too
        self._mind()
        return chunks

    def _frame(self, data: bytes | memoryview, at: int, chunks: list[bytes]) -> int:
        end = len(data)
        if end - at < 2:
            self._start = bytes(data[at:])
            return end
        first, second = data[at], data[at + 1]
        opcode, length = first & 0x0F, second & 0x7F
        self.error = self._refuse(first, second)
        if self.error is not None:
            self._passOver(data[at:])
            return end
        start = at + (2 if length < 126 else 4 if length == 126 else 10)
        if end < start or (opcode >= CLOSE and end < start + length):
            self._start = bytes(data[at:])
            return end
        if length >= 126:
            shortest = 126 if length == 126 else 0x10000
            length = int.from_bytes(data[at + 2 : start], "big")
            if not shortest <= length < 1 << 63:
                self.error = protocolError("Frame length not in its shortest form, or beyond 63 bits")
                self._passOver(data[at:])
                return end
        if opcode >= CLOSE:
            self._control(opcode, bytes(data[start : start + length]))
            return end if self.closed is not None or self.error is not None else start + length
        self._message = self._message or opcode
        self._final = first >= 0x80
        self._left = length
        return self._payload(data, start, chunks)

    def _refuse(self, first: int, second: int) -> WireError | None:
        return protocolError("Frame masked") if second & 0x80 else super()._refuse(first, second | 0x80)

    def _payload(self, data: bytes | memoryview, at: int, chunks: list[bytes]) -> int:
        stop = min(at + self._left, len(data))
        payload: bytes | memoryview = memoryview(data)[at:stop]
        self._left -= stop - at
        ends = self._final and not self._left
        if self._message == TEXT and self._text is not None:
            payload = self._text.decode(bytes(payload), ends)
            self.error = self._text.error
        if payload:
            chunks.append(payload)  # type: ignore[arg-type]  # views, too
        if ends:
            self._message = CONTINUATION
        if self.error is not None:
            self._passOver(data[stop:])
            return len(data)
        return stop


class ClientWire(ServerFrameDecoder):
    """What a client says to a server, and what it hears: binary messages, and text as its UTF-8 bytes."""

    __slots__ = ()

    opcode = BINARY

    def __init__(self, text: TextDecoder | None = None, binary: bool = True) -> None:
        super().__init__(UTF8Decoder() if text is None else text, binary)

    def send(self, data: Sequence[bytes | memoryview]) -> bytes:
        """@return: these bytes, as one message."""
        return maskedFrame(b"".join(data), self.opcode)

    def ping(self) -> bytes:
        return maskedFrame(b"", PING)

    def pong(self) -> bytes | None:
        """The answer to the server's newest ping that was not answered yet, if any."""
        payload = self.takePing()
        return None if payload is None else maskedFrame(payload, PONG)

    def close(self, close: Close) -> bytes:
        """A Close frame: see L{closeFrame}."""
        return maskedFrame(closeFrame(close)[2:], CLOSE)  # of at most 125 bytes, behind two


class _ClientBase64Wire(ClientWire):
    """Text messages of base64, both ways."""

    __slots__ = ()

    opcode = TEXT

    def __init__(self) -> None:
        super().__init__(base64.Base64Decoder(), binary=False)

    def send(self, data: Sequence[bytes | memoryview]) -> bytes:
        return maskedFrame(base64.encode(b"".join(data)), TEXT)


def clientWireOf(subprotocol: str | None) -> ClientWire:
    """@param subprotocol: on which both sides have agreed; L{None} for none."""
    return _ClientBase64Wire() if subprotocol == "base64" else ClientWire()


_header16 = Struct("!BBH").pack
_header64 = Struct("!BBQ").pack


class _Keys:
    """Masking keys, four bytes each, that only the kernel knows beforehand."""

    __slots__ = ("_at", "_bytes")

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def next(self) -> bytes:
        at = self._at
        if at == len(self._bytes):
            self._bytes, at = os.urandom(4 * _KEYS), 0
        self._at = at + 4
        return self._bytes[at : at + 4]


_nextKey = _Keys().next


def maskedFrame(payload: bytes, opcode: int = BINARY) -> bytes:
    """@return: a whole frame, FIN set, masked."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 0x10000:
        head = _header16(0x80 | opcode, 0xFE, length)
    else:
        head = _header64(0x80 | opcode, 0xFF, length)
    key = _nextKey()
    return b"".join((head, key, mask(payload, key)))
