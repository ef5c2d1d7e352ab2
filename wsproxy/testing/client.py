"""A WebSocket client in memory: it connects to a factory, and both talk within the calls of a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.x509 import Certificate
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IAddress, IProtocolFactory, ISSLTransport
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import Event
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri
from zope.interface import implementer

from wsproxy.errors import Close
from wsproxy.testing.nouns import HOST, PEER
from wsproxy.testing.transport import MemoryTransport

__all__ = ["MemoryClient"]


class MemoryClient:
    """
    Asks a factory for a WebSocket. What comes of it is there as soon as the factory has answered: at once, where those
    who decide do; and after that, whenever the reactor is advanced or the target says something.

    @param factory: a L{WebSockifyFactory<wsproxy.factory.WebSockifyFactory>}, with any reactor: Twisted's
        C{MemoryReactorClock}, say, in whose C{tcpClients} its targets are.
    @param url: path and query.
    @param origin: that of the page; L{None} for a client that is no browser.
    @param headers: more of them.
    @param peer: the client's address.
    @param secure: whether it comes over TLS, ended by the endpoint that listens.
    @param certificate: what it shows of itself there, which that has verified.
    @ivar transport: the connection, as the factory has it: C{lose()} and C{halfClose()} are what a network does.
    """

    def __init__(
        self,
        factory: IProtocolFactory,
        url: str = "/",
        *,
        origin: str | None = None,
        subprotocols: Sequence[str] = ("binary",),
        headers: Mapping[str, str] | None = None,
        peer: IAddress = PEER,
        host: IAddress = HOST,
        secure: bool = False,
        certificate: Certificate | None = None,
    ) -> None:
        self.transport = _SecureTransport(peer, host, certificate) if secure else MemoryTransport(peer, host)
        self._response: Response | None = None
        self._messages: list[bytes] = []
        self._taken = 0
        self._protocol = ClientProtocol(
            parse_uri(f"{'wss' if secure else 'ws'}://proxy.example{url}"),
            origin=None if origin is None else Origin(origin),
            subprotocols=[Subprotocol(name) for name in subprotocols],
            max_size=None,
        )
        request = self._protocol.connect()
        for name, value in (headers or {}).items():
            del request.headers[name]
            request.headers[name] = value
        self._protocol.send_request(request)
        protocol: Any = factory.buildProtocol(peer)
        self.transport.connect(protocol)
        self._flush()

    @property
    def status(self) -> int | None:
        """Of the HTTP response: 101 for a WebSocket; L{None} where there is none yet."""
        self._read()
        response = self._response
        return None if response is None else response.status_code

    @property
    def reason(self) -> str:
        """The body of the response, which says why not; empty for a WebSocket."""
        self._read()
        response = self._response
        return "" if response is None or response.body is None else bytes(response.body).decode()

    @property
    def headers(self) -> Headers:
        """Of the response."""
        self._read()
        response = self._response
        return Headers() if response is None else response.headers

    @property
    def messages(self) -> list[bytes]:
        """What has come so far."""
        self._read()
        return self._messages

    @property
    def closed(self) -> Close | None:
        """How the proxy has closed the WebSocket; L{None} as long as it has not."""
        self._read()
        frame = self._protocol.close_rcvd
        return None if frame is None else Close(frame.code, frame.reason)

    def send(self, payload: bytes) -> None:
        """Send a binary message."""
        self._read()
        self._protocol.send_binary(payload)
        self._flush()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the WebSocket."""
        self._read()
        self._protocol.send_close(code, reason)
        self._flush()

    def _flush(self) -> None:
        """Let the proxy have what is to be sent."""
        for data in self._protocol.data_to_send():
            if data:
                self.transport.receive(data)
            elif self.transport.connected:
                self.transport.halfClose()

    def _read(self) -> None:
        """Take what the proxy has sent, and answer what asks for an answer."""
        sent = self.transport.value()
        if len(sent) > self._taken:
            fresh, self._taken = sent[self._taken :], len(sent)
            self._protocol.receive_data(fresh)
        for event in self._protocol.events_received():
            self._take(event)
        self._flush()

    def _take(self, event: Event) -> None:
        if isinstance(event, Response):
            self._response = event
        elif not isinstance(event, Frame):
            raise TypeError(f"a client heard {type(event).__name__}")
        elif event.opcode in (Opcode.BINARY, Opcode.TEXT):
            self._messages.append(bytes(event.data))
        elif event.opcode is Opcode.CONT:
            self._messages[-1] += event.data


@implementer(ISSLTransport)
class _SecureTransport(MemoryTransport):
    """A connection whose TLS somebody else has ended."""

    def __init__(self, peer: IAddress, host: IAddress, certificate: Certificate | None) -> None:
        super().__init__(peer, host)
        self._certificate = None if certificate is None else X509.from_cryptography(certificate)

    def getPeerCertificate(self) -> X509 | None:
        return self._certificate
