"""One connection to the switch, in memory, and what its client makes of the answers."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any, NamedTuple

from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.resource import IResource

from tests.transport import FakeTransport
from wsproxy.frontend.switch import Switch, SwitchFactory
from wsproxy.frontend.web import WebSite

__all__ = ["Connection", "Response", "TLSClient", "makeFactory", "responses"]


def makeFactory(clock: Clock, root: IResource, short: bool = True, **settings: Any) -> SwitchFactory:
    """
    @param root: sees upgrades too, where it is a L{FrontDoor<wsproxy.frontend.upgrade.FrontDoor>}.
    @param short: ordinary ones past twisted.web.
    """
    arrive = getattr(root, "arrive", None) if short else None
    return SwitchFactory(clock, WebSite(root, clock, 10.0, getattr(root, "upgrade", None), arrive), **settings)


class Connection:
    """An accepted connection and its client."""

    def __init__(self, factory: SwitchFactory | TLSMemoryBIOFactory) -> None:
        """@param factory: a switch's, or that of an endpoint that speaks TLS before one."""
        self.transport = FakeTransport()
        self.switch: Switch = factory.buildProtocol(None)
        self.transport.connect(self.switch)

    def send(self, data: bytes, size: int | None = None) -> None:
        """@param size: how much of it arrives at a time; all at once without."""
        size = size or len(data) or 1
        for at in range(0, len(data), size):
            self.transport.receive(data[at : at + size])

    @property
    def told(self) -> bytes:
        """What the client has been sent."""
        told: bytes = self.transport.value()
        return told

    @property
    def lingers(self) -> bool:
        """Whether it is closed for writing and read on."""
        return self.transport.writeDisconnecting and not self.transport.disconnecting

    def lose(self) -> None:
        self.transport.lose()


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def responses(data: bytes, *methods: str) -> list[Response]:
    """
    The HTTP responses that make up C{data}, without a byte between or after them.

    @param methods: of the requests they answer; C{GET} where there is none.
    """
    found: list[Response] = []
    while data:
        head, blank, rest = data.partition(b"\r\n\r\n")
        assert blank, "cut off"
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version in ("HTTP/1.0", "HTTP/1.1"), version
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        assert len(headers) == len(lines), "a header twice"
        method = methods[len(found)] if len(found) < len(methods) else "GET"
        length = 0 if method == "HEAD" or status in ("101", "204", "304") else int(headers["content-length"])
        assert len(rest) >= length, "cut off"
        found.append(Response(int(status), headers, rest[:length]))
        data = rest[length:]
        if status == "101":
            break
    return found


class TLSClient:
    """The client's side of TLS on a L{Connection}. C{closed}: the server has said that it is done."""

    closed = False

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        offer: Sequence[str] = (),
        certificate: str | None = None,
    ) -> None:
        """
        @param offer: protocols, for ALPN.
        @param certificate: the path of one to show, and its key.
        """
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if offer:
            context.set_alpn_protocols(offer)
        if certificate is not None:
            context.load_cert_chain(certificate)
        self._connection = connection
        self._clock = clock
        self._taken = 0
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing)

    def carry(self, size: int | None = None) -> None:
        """Exchange what both sides have written, the client's C{size} bytes at a time, until both are silent."""
        while True:
            sent = self._outgoing.read()
            if not self._connection.transport.disconnecting:
                self._connection.send(sent, size)
            self._clock.advance(0)
            received = self._connection.told[self._taken :]
            self._taken += len(received)
            self._incoming.write(received)
            if not sent and not received:
                return

    def handshake(self, size: int | None = None) -> None:
        """@raise ssl.SSLError: the server refused."""
        for _ in range(5):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.carry(size)
            else:
                return self.carry(size)
        raise AssertionError("the server is silent")

    def exchange(self, data: bytes, size: int | None = None) -> bytes:
        """Send this. @return: what came back."""
        self.tls.write(data)
        self.carry(size)
        received = b""
        try:
            while chunk := self.tls.read():
                received += chunk
            self.closed = True
        except ssl.SSLWantReadError:
            pass
        return received
