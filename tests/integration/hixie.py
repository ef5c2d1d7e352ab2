r"""
Clients of 2010, written from the drafts alone: draft-hixie-thewebsocketprotocol-75 and -76.

Of their payload they make what noVNC's websock.js made of it in a browser without binary messages: it offers C{base64}
and takes that for agreed on where the server says nothing, and each message is base64 of its own.
"""

from __future__ import annotations

import random
from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import md5

from tests.integration.client import Response
from tests.integration.stream import Stream

__all__ = ["Hixie75", "Hixie76"]

_GARBAGE = [*range(0x21, 0x30), *range(0x3A, 0x7F)]
"""Draft 76 section 4.1: what is put into a key beside digits and spaces."""


def _key() -> tuple[int, str]:
    """A number, and what it looks like in a header: draft 76 section 4.1, 16 to 21."""
    spaces = random.randint(1, 12)
    number = random.randint(0, 0xFFFFFFFF // spaces)
    key = [*str(number * spaces)]
    for _ in range(random.randint(1, 12)):
        key.insert(random.randint(0, len(key)), chr(random.choice(_GARBAGE)))
    for _ in range(spaces):
        key.insert(random.randint(1, len(key) - 1), " ")
    return number, "".join(key)


class Hixie75:
    """
    @param stream: its connection.
    @ivar origin: the page it is on.
    """

    prefix, says = "", "Web Socket Protocol Handshake"

    def __init__(self, stream: Stream, secure: bool = False, host: str = "localhost") -> None:
        self.stream = stream
        self._scheme = "wss" if secure else "ws"
        self._host = host
        self.origin: str | None = f"http{'s' if secure else ''}://{host}"
        self._left = b""

    def keys(self) -> Iterable[str]:
        return ()

    def body(self) -> bytes:
        return b""

    async def proven(self) -> None:
        """Nothing more is awaited of the server."""

    async def upgrade(
        self, path: str = "/", *, offer: str | None = "base64", headers: Iterable[str] = (), pieces: int = 1
    ) -> Response:
        """
        Ask for a WebSocket, and check the answer as the draft has it.

        @param pieces: in how many the request is sent.
        """
        lines = [
            f"GET {path} HTTP/1.1",
            "Upgrade: WebSocket",
            "Connection: Upgrade",
            f"Host: {self._host}",
            *(() if self.origin is None else (f"Origin: {self.origin}",)),
            *(() if offer is None else (f"{self.prefix}WebSocket-Protocol: {offer}",)),
            *self.keys(),
            *headers,
        ]
        request = "\r\n".join([*lines, "", ""]).encode() + self.body()
        size = -(-len(request) // pieces)
        for at in range(0, len(request), size):
            await self.stream.send(request[at : at + size])
        head = (await self.stream.until(b"\r\n\r\n")).decode("ascii").split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        response = Response(int(head[0].split()[1]), fields)
        if response.status == 101:
            assert head[:3] == [f"HTTP/1.1 101 {self.says}", "Upgrade: WebSocket", "Connection: Upgrade"], head
            name = f"{self.prefix}WebSocket-".lower()
            assert fields.get(f"{name}origin") == self.origin, fields
            assert fields[f"{name}location"] == f"{self._scheme}://{self._host}{path}", fields
            assert fields.get(f"{name}protocol") in (None, offer), fields
            await self.proven()
        return response

    def send(self, payload: bytes) -> None:
        """One message."""
        self.stream.write(b"\0" + b64encode(payload) + b"\xff")

    async def exactly(self, size: int) -> bytes:
        """The next so many bytes of payload, whatever messages they come in."""
        data = self._left
        while len(data) < size:
            assert await self.stream.exactly(1) == b"\0"
            data += b64decode((await self.stream.until(b"\xff"))[:-1], validate=True)
        data, self._left = data[:size], data[size:]
        return data

    async def closed(self) -> None:
        """The server says that it is done; there is no payload before that."""
        assert await self.stream.some() == b"", "not the end"

    def close(self) -> None:
        """There is no word for it."""
        self.stream.close()


class Hixie76(Hixie75):
    """With keys, and a closing handshake."""

    prefix, says = "Sec-", "WebSocket Protocol Handshake"

    def keys(self) -> Iterable[str]:
        first, key1 = _key()
        second, key2 = _key()
        self._body = random.randbytes(8)
        self._proof = md5(first.to_bytes(4, "big") + second.to_bytes(4, "big") + self._body).digest()
        return f"Sec-WebSocket-Key1: {key1}", f"Sec-WebSocket-Key2: {key2}"

    def body(self) -> bytes:
        return self._body

    async def proven(self) -> None:
        assert await self.stream.exactly(16) == self._proof

    async def closed(self) -> None:
        assert await self.stream.exactly(2) == b"\xff\0", "no Close"

    def close(self) -> None:
        self.stream.write(b"\xff\0")
