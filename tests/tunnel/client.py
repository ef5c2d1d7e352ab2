"""A client, right or wrong, for tests of the server's side."""

from __future__ import annotations

from typing import NamedTuple

from wsproxy.errors import Close
from wsproxy.wire.frames import FrameDecoder

__all__ = ["Frame", "Verdict", "decode"]


class Frame(NamedTuple):
    """One frame of a client, right or wrong.

    @ivar form: the number of extended length bytes; C{None} for as few as will do.
    """

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    masked: bool = True
    form: int | None = None
    key: bytes = b"\x37\xfa\x21\x3d"

    def encode(self) -> bytes:
        size = len(self.payload)
        form = self.form
        if form is None:
            form = 0 if size < 126 else 2 if size < 0x10000 else 8
        head = bytes([self.fin << 7 | self.rsv << 4 | self.opcode])
        head += bytes([self.masked << 7 | (size if form == 0 else 126 if form == 2 else 127)])
        head += size.to_bytes(form, "big") if form else b""
        if not self.masked:
            return head + self.payload
        return head + self.key + bytes(byte ^ self.key[i % 4] for i, byte in enumerate(self.payload))


class Verdict(NamedTuple):
    """What became of a stream: the payload, the newest ping, the client's Close or the code of an error."""

    payload: bytes
    ping: bytes | None
    closed: Close | None
    error: int | None


def decode(pieces: list[bytes], decoder: FrameDecoder) -> Verdict:
    """Feed C{pieces} by way of one buffer, which is overwritten after each."""
    buffer = bytearray(max(map(len, pieces), default=0))
    chunks: list[bytes] = []
    for piece in pieces:
        buffer[: len(piece)] = piece
        chunks += decoder.feed(memoryview(buffer)[: len(piece)])
        buffer[:] = bytes(len(buffer))
    assert all(type(chunk) is bytes and chunk for chunk in chunks)
    error = decoder.error.close.code if decoder.error is not None else None
    return Verdict(b"".join(chunks), decoder.takePing(), decoder.closed, error)
