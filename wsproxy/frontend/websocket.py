"""The opening handshake, negotiated by Autobahn (RFC 6455 section 4.2).

Autobahn sees one complete and bounded request, made from the headers that matter to the handshake, and writes its
answer into memory. It never sees a frame: once it has said 101 it is dropped and the tunnel takes over.

Clients hardly differ in those headers, but for the key. So Autobahn negotiates with the key of an example, and what it
said holds for every client with the same headers and a proper key, which is all that is left to check: 70 µs of a
connection become 10.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import sha1
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers

from wsproxy.errors import Refusal

__all__ = ["Handshake", "HandshakeFactory"]

_HEADERS = (b"Upgrade", b"Connection", b"Sec-WebSocket-Version", b"Sec-WebSocket-Protocol")
"""What the handshake depends on beside the key. Host and Origin are decided elsewhere; no extension is offered."""

_PROPER_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
"""Sixteen bytes in base64: RFC 6455 section 4.1, 7."""

_EXAMPLE = b"dGhlIHNhbXBsZSBub25jZQ=="
"""The key of RFC 6455 section 1.3."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_REMEMBERED = 256
"""How many combinations of headers and subprotocols are remembered, each of at most L{_REMEMBERED_SIZE} bytes."""

_REMEMBERED_SIZE = 1024


def _proof(key: bytes) -> bytes:
    """The header that tells a client that its key was understood."""
    return b"Sec-WebSocket-Accept: " + b64encode(sha1(key + _GUID).digest())


_EXAMPLE_PROOF = _proof(_EXAMPLE)


class _Negotiation(WebSocketServerProtocol):
    """Autobahn's half of one handshake."""

    CONFIG_ATTRS: list[str] = []
    # Autobahn copies its settings to every instance and formats them for a debug line. L{HandshakeFactory} sets them
    # once, on the class.

    def __init__(self, chosen: str | None) -> None:
        super().__init__()
        self.chosen = chosen
        self.offered: tuple[str, ...] = ()
        self.answer = b""
        self.refusal: Refusal | None = None

    def connectionMade(self) -> None:
        self._connectionMade()

    def onConnect(self, request: ConnectionRequest) -> str | None:
        self.offered = tuple(request.protocols)
        return self.chosen

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        self.answer += data

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        self.refusal = Refusal(code, reason)

    def _onOpen(self) -> None:
        """The tunnel opens the session, not Autobahn."""


_Negotiate = Callable[[bytes, str | None], tuple[tuple[str, ...], bytes]]


class Handshake:
    """One valid upgrade request. C{offered} are the client's subprotocols, in its order.

    @raise Refusal: it is not valid.
    """

    def __init__(self, negotiate: _Negotiate, request: bytes, proof: bytes) -> None:
        self._negotiate = negotiate
        self._request = request
        self._proof = proof
        self.offered = negotiate(request, None)[0]

    def accept(self, subprotocol: str | None) -> bytes:
        """@return: the 101 response, naming this subprotocol, which must be one of C{offered}."""
        answer = self._negotiate(self._request, subprotocol)[1]
        assert answer.startswith(b"HTTP/1.1 101 ")
        return answer.replace(_EXAMPLE_PROOF, self._proof)


class HandshakeFactory:
    """Begins handshakes.

    @param server: the C{Server} header of the 101 response.
    """

    def __init__(self, reactor: IReactorTime, server: str) -> None:
        factory = WebSocketServerFactory(reactor=reactor, server=server)
        factory.setProtocolOptions(versions=[13], openHandshakeTimeout=0, closeHandshakeTimeout=0, webStatus=False)
        settings = {name: getattr(factory, name) for name in WebSocketServerProtocol.CONFIG_ATTRS}
        self._protocol = type("_Negotiation", (_Negotiation,), settings | {"factory": factory})
        self._remembered = lru_cache(_REMEMBERED)(self._negotiate)

    def begin(self, headers: Headers) -> Handshake:
        """
        Check an upgrade request.

        @raise Refusal: 426 for a version other than 13 (RFC 6455 section 4.2.2), else 400 with what is wrong.
        """
        version = headers.getRawHeaders(b"Sec-WebSocket-Version", ())
        if [value.strip() for value in version] != [b"13"]:
            raise Refusal(426, "WebSocket version 13 is spoken here", (("Sec-WebSocket-Version", "13"),))
        keys = headers.getRawHeaders(b"Sec-WebSocket-Key", ())
        if len(keys) == 1 and _PROPER_KEY.fullmatch(keys[0]):
            request = b"\r\n".join(_request(headers, (_EXAMPLE,)))
            if len(request) <= _REMEMBERED_SIZE:
                return Handshake(self._remembered, request, _proof(keys[0]))
        return Handshake(self._negotiate, b"\r\n".join(_request(headers, keys)), _EXAMPLE_PROOF)

    def _negotiate(self, request: bytes, chosen: str | None) -> tuple[tuple[str, ...], bytes]:
        """@return: the subprotocols that are offered, and the answer when this one is chosen."""
        negotiation = self._protocol(chosen)
        negotiation.connectionMade()
        negotiation.dataReceived(request)
        if negotiation.refusal is not None:
            raise negotiation.refusal
        return negotiation.offered, negotiation.answer


def _request(headers: Headers, keys: Iterable[bytes]) -> Iterable[bytes]:
    yield b"GET / HTTP/1.1"
    yield b"Host: localhost"
    for key in keys:
        yield b"Sec-WebSocket-Key: " + key
    for name in _HEADERS:
        for value in headers.getRawHeaders(name, ()):
            yield name + b": " + value
    yield b"\r\n"
