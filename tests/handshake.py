"""A TLS peer in memory: the standard library's C{ssl} on one end, Twisted's protocol on the other."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

__all__ = ["Echo", "Peer", "refusal"]

T = TypeVar("T")


class Echo(Protocol):
    """Gives back what it gets, and keeps why its connection ended."""

    reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason


class Peer:
    """
    @param creator: what makes the connection of Twisted's end, which echoes.
    @param context: the peer's settings; whether it is the client or the server follows from its protocol.
    @param hostname: whom the peer expects, where it is the client.
    @param session: a session to resume.

    @ivar tls: the peer's end.
    @ivar echo: the protocol on Twisted's end.
    """

    def __init__(
        self,
        creator: Any,
        context: ssl.SSLContext,
        hostname: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        isServer = context.protocol is ssl.PROTOCOL_TLS_SERVER
        self._clock = Clock()
        factory = TLSMemoryBIOFactory(creator, isServer, Factory.forProtocol(Echo), self._clock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, isServer, hostname, session)
        self.transport = StringTransport()
        self._twisted = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        self.echo = self._twisted.wrappedProtocol
        self._twisted.makeConnection(self.transport)

    def exchange(self, data: bytes = b"hello") -> bytes:
        """
        Shake hands unless that is done, send, and read the echo.

        @raise ssl.SSLError: where either end refused.
        """
        self._until(self.tls.do_handshake)
        self.tls.write(data)
        return self._until(lambda: self.tls.read(len(data)))

    def say(self, data: bytes) -> None:
        """Send what is not TLS."""
        self._twisted.dataReceived(data)

    def disconnect(self) -> None:
        self._twisted.connectionLost(connectionDone)

    def _until(self, step: Callable[[], T]) -> T:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                if not self._carry():
                    raise AssertionError("both ends are silent") from None
            finally:
                self._carry()

    def _carry(self) -> bool:
        """Carry what either end has written to the other."""
        sent = self._outgoing.read()
        if sent and not self.transport.disconnecting:
            self._twisted.dataReceived(sent)
        self._clock.advance(0)
        received = self.transport.value()
        self.transport.clear()
        self._incoming.write(received)
        return bool(sent or received)


def refusal(peer: Peer) -> str:
    """Let the handshake fail. @return: what OpenSSL says to that at the peer's end."""
    try:
        peer.exchange()
    except ssl.SSLError as error:
        return str(error).lower()
    raise AssertionError("the handshake went well")
