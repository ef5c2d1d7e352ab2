"""The opening handshake, negotiated by Autobahn (RFC 6455 section 4.2).

Autobahn sees one complete and bounded request, made from the headers that matter to the handshake, and writes its
answer into memory. It never sees a frame: once it has said 101 it is dropped and the tunnel takes over. Nor does it see
a byte that is not visible ASCII: it ends lines where L{str.splitlines} does, at VT, FF, FS, GS, RS and NEL too, and a
client that could write lines of its own would be answered what nobody here has agreed to.

Clients hardly differ in those headers, but for the key and for what they offer. So Autobahn negotiates with the key of
an example, and offered no more than the subprotocol that is chosen. What it said holds for every client with the same
headers and a proper key, which is all that is left to check: 300 µs of a connection become 10.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from hashlib import sha1
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web.http_headers import Headers

from wsproxy.errors import ConfigError, Refusal

__all__ = ["Handshake", "HandshakeFactory", "offeredIn", "visible"]

_HEADERS = (b"Upgrade", b"Connection", b"Sec-WebSocket-Version")
"""What the handshake depends on beside key and subprotocols. Host and Origin are decided elsewhere; no extension is
offered."""

_VISIBLE = re.compile(rb"[\t\r\n\x20-\x7e]*")
"""Visible ASCII, space and tab, and what is between the lines. In a value, Twisted leaves neither CR nor LF."""

_PROPER_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
"""Sixteen bytes in base64: RFC 6455 section 4.1, 7."""

_EXAMPLE = b"dGhlIHNhbXBsZSBub25jZQ=="
"""The key of RFC 6455 section 1.3."""

_ORDINARY = f"GET / HTTP/1.1\r\nHost: localhost\r\nSec-WebSocket-Key: {_EXAMPLE.decode('ascii')}\r\n" + "\r\n".join(
    f"{name.decode('ascii')}: {{}}" for name in _HEADERS
)
"""What L{_request} makes of one value of each."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

_REMEMBERED = 256
"""How many combinations of headers and subprotocols are remembered, each of at most L{_REMEMBERED_SIZE} bytes."""

_REMEMBERED_SIZE = 1024


def _proof(key: bytes) -> bytes:
    """The header that tells a client that its key was understood."""
    return b"Sec-WebSocket-Accept: " + b64encode(sha1(key + _GUID).digest())


_EXAMPLE_PROOF = _proof(_EXAMPLE)


class _Memory:
    """As much of a transport as a handshake needs. C{written}: the answer."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def getPeer(self) -> IAddress:
        return UNIXAddress(None)

    getHost = getPeer


class _Negotiation(WebSocketServerProtocol):
    """Autobahn's half of one handshake."""

    def __init__(self, chosen: str | None) -> None:
        super().__init__()
        self.chosen = chosen
        self.refusal: Refusal | None = None

    def onConnect(self, request: ConnectionRequest) -> str | None:
        return self.chosen

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        self.refusal = Refusal(code, reason)


_Negotiate = Callable[[bytes, str | None], bytes]


class Handshake:
    """One valid upgrade request. C{offered} are the client's subprotocols, each once, in its order.

    @raise Refusal: it is not valid.
    """

    def __init__(self, negotiate: _Negotiate, request: bytes, proof: bytes, offered: tuple[str, ...]) -> None:
        negotiate(request, None)
        self._negotiate = negotiate
        self._request = request
        self._proof = proof
        self.offered = offered

    def accept(self, subprotocol: str | None) -> bytes:
        """@return: the 101 response, naming this subprotocol, which must be one of C{offered}."""
        return self._negotiate(self._request, subprotocol).replace(_EXAMPLE_PROOF, self._proof)


class HandshakeFactory:
    """Begins handshakes.

    @param server: the C{Server} header of the 101 response.
    @param versions: that are spoken; 8 beside 13 has the same frames.
    @raise ConfigError: this Autobahn does not answer as RFC 6455 has it.
    """

    def __init__(self, reactor: IReactorTime, server: str, versions: Collection[int] = (13,)) -> None:
        self._versions = [[b"%d" % version] for version in versions]
        self._factory = WebSocketServerFactory(reactor=reactor, server=server)
        self._factory.setProtocolOptions(
            versions=[*versions], openHandshakeTimeout=0, closeHandshakeTimeout=0, webStatus=False
        )
        self._remembered = lru_cache(_REMEMBERED)(self._negotiate)
        self._tryOut()

    def _tryOut(self) -> None:
        headers = {b"Upgrade": [b"websocket"], b"Connection": [b"Upgrade"], b"Sec-WebSocket-Version": [b"13"]}
        try:
            self.begin(Headers(headers | {b"Sec-WebSocket-Key": [_EXAMPLE]})).accept(None)
        except Refusal as refusal:
            raise ConfigError(f"Autobahn: no version that is known here ({refusal.reason})") from refusal

    def begin(self, headers: Headers) -> Handshake:
        """
        Check an upgrade request.

        @raise Refusal: 426 for a version other than 13 (RFC 6455 section 4.2.2), else 400 with what is wrong.
        """
        version = headers.getRawHeaders(b"Sec-WebSocket-Version", ())
        if [value.strip() for value in version] not in self._versions:
            raise Refusal(426, "WebSocket version 13 is spoken here", (("Sec-WebSocket-Version", "13"),))
        offered = offeredIn(headers.getRawHeaders(b"Sec-WebSocket-Protocol", ()))
        keys = headers.getRawHeaders(b"Sec-WebSocket-Key", ())
        if len(keys) == 1 and _PROPER_KEY.fullmatch(keys[0]):
            return self._begin(_request(headers, (_EXAMPLE,)), keys[0], offered)
        return Handshake(self._negotiate, _request(headers, keys), _EXAMPLE_PROOF, offered)

    def beginOrdinary(self, headers: Mapping[str, str]) -> Handshake:
        """
        The same, of what L{readHead<wsproxy.frontend.head.readHead>} has read.

        @raise Refusal: there is something wrong with it, after all, which L{begin} says better.
        """
        key = headers.get("sec-websocket-key", "").encode("ascii")
        if not _PROPER_KEY.fullmatch(key):
            raise Refusal(400, _UNANSWERED)
        text = _ORDINARY.format(headers["upgrade"], headers["connection"], headers["sec-websocket-version"])
        names = headers.get("sec-websocket-protocol", "")
        offered = _namesInAgain(names) if len(names) <= _REMEMBERED_SIZE else _namesIn(names)
        return self._begin(text.encode("ascii"), key, offered)

    def _begin(self, request: bytes, key: bytes, offered: tuple[str, ...]) -> Handshake:
        negotiate = self._remembered if len(request) <= _REMEMBERED_SIZE else self._negotiate
        return Handshake(negotiate, request, _proof(key), offered)

    def _negotiate(self, request: bytes, chosen: str | None) -> bytes:
        """
        @param request: without its last, empty line.
        @return: the answer when this subprotocol is offered and chosen.
        @raise Refusal: Autobahn says no, or nothing that makes sense.
        """
        negotiation, transport = _Negotiation(chosen), _Memory()
        negotiation.factory = self._factory
        offer = b"" if chosen is None else b"Sec-WebSocket-Protocol: " + chosen.encode("ascii") + b"\r\n"
        try:
            negotiation.makeConnection(transport)
            negotiation.dataReceived(request + b"\r\n" + offer + b"\r\n")
        except Exception as error:
            raise Refusal(400, _UNANSWERED) from error
        if negotiation.refusal is not None:
            raise negotiation.refusal
        if not transport.written.startswith(b"HTTP/1.1 101 "):
            raise Refusal(400, _UNANSWERED)
        # as RFC 6455 section 4.2.2 spells it; some clients compare letter by letter
        return transport.written.replace(b"\r\nUpgrade: WebSocket\r\n", b"\r\nUpgrade: websocket\r\n")


_UNANSWERED = "Malformed WebSocket handshake"


def offeredIn(values: Sequence[bytes]) -> tuple[str, ...]:
    """The names in a list, of which one may be empty or there twice: RFC 9110 section 5.6.1.2."""
    return _namesIn(visible(b",".join(values)).decode("ascii")) if values else ()


def _namesIn(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))


_namesInAgain = lru_cache(_REMEMBERED)(_namesIn)


def _request(headers: Headers, keys: Sequence[bytes]) -> bytes:
    lines = [b"GET / HTTP/1.1", b"Host: localhost"]
    for key in keys:
        lines.append(b"Sec-WebSocket-Key: " + key)
    for name in _HEADERS:
        for value in headers.getRawHeaders(name, ()):
            lines.append(name + b": " + value)
    return visible(b"\r\n".join(lines))


def visible(text: bytes) -> bytes:
    if _VISIBLE.fullmatch(text) is None:
        raise Refusal(400, "A header of the WebSocket handshake is not in ASCII")
    return text
