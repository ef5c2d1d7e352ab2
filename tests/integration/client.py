"""A WebSocket client of the tests' own: nothing in it comes from the proxy, nor from a library that is part of it."""

from __future__ import annotations

import random
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha1
from typing import NamedTuple

from tests.integration.stream import Stream

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Client",
    "Closed",
    "Response",
    "frame",
    "header",
    "mask",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


class Closed(Exception):
    """The server's Close frame came where something else was awaited."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(code, reason)
        self.told = (code, reason)


class Response(NamedTuple):
    """The head of an HTTP response; header names in lower case."""

    status: int
    headers: dict[str, str]


def header(size: int, opcode: int = BINARY, *, fin: bool = True, key: bytes = bytes(4)) -> bytes:
    """
    The first bytes of a client's frame.

    @param size: the bytes of L{mask}ed payload to follow.
    """
    if size < 126:
        length = bytes([128 | size])
    elif size < 65536:
        length = bytes([128 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([128 | 127]) + size.to_bytes(8, "big")
    return bytes([fin << 7 | opcode]) + length + key


def mask(payload: bytes, key: bytes) -> bytes:
    """C{payload} under this mask: RFC 6455 section 5.3."""
    size = len(payload)
    pad = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


def frame(payload: bytes, opcode: int = BINARY, *, fin: bool = True) -> bytes:
    """One frame of a client, under a random mask."""
    key = random.randbytes(4)
    return header(len(payload), opcode, fin=fin, key=key) + mask(payload, key)


@dataclass
class Client:
    """
    @ivar stream: its connection.
    @ivar base64: whether payload travels as base64 in text messages.
    @ivar answering: whether it answers pings.
    @ivar pings: how many came so far.
    @ivar pongs: the payloads of those that came so far.
    """

    stream: Stream
    answering: bool = True
    base64: bool = False
    pings: int = 0
    pongs: list[bytes] = field(default_factory=list)
    _payload: bytes = b""

    async def upgrade(
        self, path: str = "/", *, offer: Iterable[str] = (), headers: Iterable[str] = (), early: bytes = b""
    ) -> Response:
        """
        Ask for a WebSocket.

        @param offer: subprotocols.
        @param headers: further header lines.
        @param early: what to send in the same breath.
        """
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: localhost",
            "Connection: keep-alive, Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {_KEY.decode()}",
            *(f"Sec-WebSocket-Protocol: {name}" for name in offer),
            *headers,
        ]
        self.stream.write("\r\n".join([*lines, "", ""]).encode() + early)
        response = await self.response()
        if response.status == 101:
            digest = b64encode(sha1(_KEY + _GUID).digest()).decode()
            assert response.headers["sec-websocket-accept"] == digest, response
            self.base64 = response.headers.get("sec-websocket-protocol") == "base64"
        return response

    async def response(self) -> Response:
        """The head of an HTTP response; its body, if any, is still to be read."""
        head = (await self.stream.until(b"\r\n\r\n")).decode("ascii").split("\r\n")
        fields = (line.partition(":") for line in head[1:-2])
        return Response(int(head[0].split()[1]), {name.lower(): value.strip() for name, _, value in fields})

    def send(self, payload: bytes) -> None:
        """One message."""
        opcode = TEXT if self.base64 else BINARY
        self.stream.write(frame(b64encode(payload) if self.base64 else payload, opcode))

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a Close frame."""
        self.stream.write(frame(b"" if code is None else code.to_bytes(2, "big") + reason.encode(), CLOSE))

    async def some(self) -> bytes:
        """
        The payload of the next message; pings are answered on the way.

        @raise Closed: there is none; it is not answered.
        @raise EOFError: nor is there a Close frame.
        """
        if self._payload:
            payload, self._payload = self._payload, b""
            return payload
        while True:
            opcode, payload = await self._frame()
            if opcode == PING:
                self.pings += 1
                if self.answering:
                    self.stream.write(frame(payload, PONG))
            elif opcode == PONG:
                self.pongs.append(payload)
            elif opcode == CLOSE:
                raise Closed(int.from_bytes(payload[:2], "big") if payload else None, payload[2:].decode())
            else:
                assert opcode == (TEXT if self.base64 else BINARY), opcode
                return b64decode(payload, validate=True) if self.base64 else payload

    async def exactly(self, size: int) -> bytes:
        """The next so many bytes of payload, whatever messages they come in."""
        data = b""
        while len(data) < size:
            data += await self.some()
        self._payload = data[size:]
        return data[:size]

    async def rest(self) -> tuple[bytes, tuple[int | None, str]]:
        """All payload up to the server's Close frame, and that frame's code and reason."""
        data = bytearray()
        try:
            while True:
                data += await self.some()
        except Closed as closed:
            return bytes(data), closed.told

    async def leave(self, code: int | None = 1000) -> tuple[int | None, str]:
        """Close, and see the connection off. @return: the server's answer."""
        self.close(code)
        _, told = await self.rest()
        await self.stream.gone()
        return told

    async def _frame(self) -> tuple[int, bytes]:
        """The server's next frame. RFC 6455 section 5.2: not masked, no reserved bits; ours never fragments."""
        first, size = await self.stream.exactly(2)
        opcode = first & 15
        assert first == 128 | opcode, f"{first:#x}"
        if size == 126:
            size = int.from_bytes(await self.stream.exactly(2), "big")
            assert size > 125
        elif size == 127:
            size = int.from_bytes(await self.stream.exactly(8), "big")
            assert size > 65535
        assert size < 126 or opcode < CLOSE
        return opcode, await self.stream.exactly(size)
