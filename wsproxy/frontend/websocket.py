"""The opening handshake, negotiated by Autobahn (RFC 6455 section 4.2).

Autobahn sees one complete and bounded request, made from the headers that matter to the handshake, and writes its
answer into memory. It never sees a frame: once it has said 101 it is dropped and the tunnel takes over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers

from wsproxy.errors import Refusal

__all__ = ["Handshake", "HandshakeFactory"]

_HEADERS = (b"Upgrade", b"Connection", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version", b"Sec-WebSocket-Protocol")
"""What the handshake depends on. Host and Origin are decided elsewhere; no extension is offered."""


class _Negotiation(WebSocketServerProtocol):
    """Autobahn's half of one handshake; holds 101 back until a subprotocol has been chosen.

    Autobahn fills in some fifty attributes for each connection, of which a handshake changes few. One negotiation is
    set up that way, and the others begin as copies of it.
    """

    CONFIG_ATTRS: list[str] = []
    # Autobahn copies its settings to every instance and formats them for a debug line, 40 % of the cost of a
    # connection. L{HandshakeFactory} sets them once, on the class.

    offered: tuple[str, ...] | None = None

    answer = b""
    refusal: Refusal | None = None
    chosen: Deferred[str | None]

    def another(self) -> _Negotiation:
        """@return: a negotiation that begins where this one stands."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.chosen = Deferred()
        other.is_open = Deferred()
        return other

    def connectionMade(self) -> None:
        self._connectionMade()

    def onConnect(self, request: ConnectionRequest) -> Any:
        self.offered = tuple(request.protocols)
        return self.chosen

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        self.answer += data

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        self.refusal = Refusal(code, reason)

    def _onOpen(self) -> None:
        """The tunnel opens the session, not Autobahn."""


class Handshake:
    """One valid upgrade request. C{offered} are the client's subprotocols, in its order."""

    def __init__(self, negotiation: _Negotiation) -> None:
        self._negotiation = negotiation
        self.offered = negotiation.offered or ()

    def accept(self, subprotocol: str | None) -> bytes:
        """@return: the 101 response, naming this subprotocol, which must be one of C{offered}."""
        self._negotiation.chosen.callback(subprotocol)
        assert self._negotiation.answer.startswith(b"HTTP/1.1 101 "), self._negotiation.refusal
        return bytes(self._negotiation.answer)


class HandshakeFactory:
    """Begins handshakes.

    @param server: the C{Server} header of the 101 response.
    """

    def __init__(self, reactor: IReactorTime, server: str) -> None:
        factory = WebSocketServerFactory(reactor=reactor, server=server)
        factory.setProtocolOptions(versions=[13], openHandshakeTimeout=0, closeHandshakeTimeout=0, webStatus=False)
        settings = {name: getattr(factory, name) for name in WebSocketServerProtocol.CONFIG_ATTRS}
        self._first: _Negotiation = type("_Negotiation", (_Negotiation,), settings | {"factory": factory})()
        self._first.connectionMade()

    def begin(self, headers: Headers) -> Handshake:
        """
        Check an upgrade request.

        @raise Refusal: 426 for a version other than 13 (RFC 6455 section 4.2.2), else 400 with what is wrong.
        """
        version = headers.getRawHeaders(b"Sec-WebSocket-Version", ())
        if [value.strip() for value in version] != [b"13"]:
            raise Refusal(426, "WebSocket version 13 is spoken here", (("Sec-WebSocket-Version", "13"),))
        negotiation = self._first.another()
        negotiation.dataReceived(b"\r\n".join(_request(headers)))
        if negotiation.refusal is not None:
            raise negotiation.refusal
        return Handshake(negotiation)


def _request(headers: Headers) -> Iterable[bytes]:
    yield b"GET / HTTP/1.1"
    yield b"Host: localhost"
    for name in _HEADERS:
        for value in headers.getRawHeaders(name, ()):
            yield name + b": " + value
    yield b"\r\n"
