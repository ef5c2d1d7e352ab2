"""The end of a target, from the moment that it is dialled: whoever connects it, and whatever its transport can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from wsproxy.dialling.handshake import HandshakeFactory, HandshakeFailed
from wsproxy.ends.end import ignore
from wsproxy.ends.securetransport import SecureTransport
from wsproxy.ends.states import Peer
from wsproxy.ends.transport import TransportEnd, isBare
from wsproxy.errors import DialError
from wsproxy.tls.client import describeTLSFailure

__all__ = ["TargetEnd"]


class TargetEnd(TransportEnd):
    """An end that is told of its connection by whoever likes, on a transport that can as little as it likes."""

    settled: Callable[[], None] | None = None
    """Called when it is connected, or will never be."""

    heard: Callable[[], None] | None = None
    """Called when something has arrived, or nothing more will, before it is started."""

    def connectionMade(self) -> None:
        if not isinstance(self.transport, (Connection, ProtocolWrapper)) and not _isComplete(self.transport):
            self.transport = _Completed(self.transport)
        self.connected = 1  # Autobahn calls this, and not makeConnection
        super().connectionMade()
        if self.settled is not None:
            self.settled()

    def connectionLost(self, reason: Failure | None = connectionDone) -> None:
        super().connectionLost(connectionDone if reason is None else reason)  # Autobahn has none
        if self.settled is not None:
            self.settled()
        self._hear()

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self._hear()

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        self._hear()

    def _hear(self) -> None:
        if self.heard is not None:
            self.heard()

    @property
    def early(self) -> bytearray:
        """What has arrived before it is started; for whoever takes some of it."""
        return self._early

    @property
    def isOver(self) -> bool:
        """Whether nothing more will arrive."""
        return self._peer is Peer.ENDED or self._lost is not None

    def listen(self, heard: Callable[[], None] | None) -> None:
        """Read, before it is started, and have C{heard} called; or do not."""
        self.heard = heard
        if not self.isOver:
            self.transport.pauseProducing() if heard is None else self.transport.resumeProducing()

    def startTLS(self, settings: IOpenSSLClientConnectionCreator, clock: IReactorTime) -> Deferred[Any]:
        """
        Speak TLS from here on, as a client, before it is started. What has arrived already is of it.

        @return: fires once the certificate is verified, as C{settings} say; fails with L{DialError}.
        """
        raw: Any = self.transport
        if not isBare(raw):
            return fail(DialError("Target cannot begin TLS here"))
        early, self._early = bytes(self._early), bytearray()
        handshakes = HandshakeFactory(Factory.forProtocol(lambda: self))
        factory = TLSMemoryBIOFactory(settings, True, handshakes, clock)
        factory.protocol = SecureTransport  # which the pump can take the socket from
        secured: Any = factory.buildProtocol(None)
        raw.unregisterProducer()
        raw.protocol = secured
        secured.makeConnection(raw)
        if early:
            secured.dataReceived(early)
        raw.resumeProducing()
        shaken: Deferred[Any] = secured.wrappedProtocol.completed
        return shaken.addErrback(_unshaken)

    def drop(self) -> None:
        """Nobody wants it any more. Before it is connected, too."""
        if self.connected:
            self.abort()
        elif self.transport is not None:
            _Completed(self.transport).abortConnection()


_NEEDED = ("abortConnection", "loseWriteConnection", "pauseProducing", "registerProducer", "writeSequence")


def _isComplete(transport: Any) -> bool:
    return all(hasattr(transport, name) for name in _NEEDED)


def _unshaken(failure: Failure) -> NoReturn:
    error = failure.value
    assert error is not None
    cause = error.__cause__ if isinstance(error, HandshakeFailed) and error.__cause__ is not None else error
    raise DialError(f"Target TLS: {describeTLSFailure(cause)}") from cause


class _Completed:
    """
    A transport with all that TCP's can do, where what stands for it can do little more than write: what is missing is
    done by the transport beneath, or not at all.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        directlyProvides(self, providedBy(transport))

    def __getattr__(self, name: str) -> Any:
        layer = self._transport
        while layer is not None:
            if hasattr(layer, name):
                return getattr(layer, name)
            layer = getattr(layer, "transport", None)
        if name in _MADE_UP:
            return ignore
        raise AttributeError(name)

    def writeSequence(self, data: list[bytes]) -> None:
        self._transport.write(b"".join(data))

    def loseWriteConnection(self) -> None:
        """The half of what is beneath would be the end of all of this."""
        getattr(self._transport, "loseWriteConnection", self._transport.loseConnection)()

    def resumeProducing(self) -> None:
        """One that is closing has nothing left to read, and Twisted's in memory mind being asked to."""
        if not getattr(self._transport, "disconnecting", False):
            self.__getattr__("resumeProducing")()

    def abortConnection(self) -> None:
        abort = self.__getattr__("abortConnection")
        (self._transport.loseConnection if abort is ignore else abort)()


_MADE_UP = ("abortConnection", "pauseProducing", "resumeProducing", "registerProducer", "unregisterProducer")
"""Whoever has no backpressure goes without."""
