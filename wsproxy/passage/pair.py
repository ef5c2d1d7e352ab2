"""Two transports in memory, each other's far side: a session's target on the one, a service's protocol on the other.

::

    WebSocket ◄─► tunnel ◄─► TargetEnd ◄─► Transport ══ Transport ◄─► the service's protocol

What is written on one side is told on the other in a later turn of the reactor, as between sockets; what the other side
does not read waits, and beyond L{ROOM} bytes the writer's producer is paused.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wsproxy.fault import logFault
from wsproxy.interfaces import Session
from wsproxy.websocket.upside import Upside

__all__ = ["ROOM", "PairedTransport", "pair"]

ROOM = 65536
"""Bytes; as many as Twisted's sockets keep."""

_DONE = ConnectionDone()


@implementer(ITCPTransport, IPushProducer)
class PairedTransport(Upside):
    """
    One side.

    @param session: what it is a part of.
    @param ended: why it has ended for this side's protocol, where the other side has closed, or has dropped it; told by
        somebody who knows more than that. L{None}: as it would be over TCP.
    """

    _log = Logger()
    other: PairedTransport

    def __init__(
        self, clock: IReactorTime, session: Session, ended: Callable[[], Failure | None] = lambda: None
    ) -> None:
        super().__init__(clock)
        self.session = session
        self._ended = ended
        self._protocol: Any = None
        self._incoming = bytearray()
        self._saysMore = self._hearsMore = True
        self._lost = self._aborting = False
        self._turn: IDelayedCall | None = None
        self._noDelay = self._keepAlive = False

    def connect(self, protocol: Any) -> None:
        """Begin to serve this protocol."""
        self._protocol = protocol
        protocol.makeConnection(self)

    # writing

    @property
    def _writable(self) -> bool:
        return self._saysMore and not self._lost

    @property
    def _isOver(self) -> bool:
        return self._lost

    def _send(self, payload: list[bytes]) -> None:
        other = self.other
        for piece in payload:
            other._incoming += piece
        other._wake()
        if len(other._incoming) > ROOM and not self._congested:
            self._congested = True
            self._pauseProducer()

    def _taken(self) -> None:
        """The other side has been told all of it."""
        if self._congested:
            self._congested = False
            self._resumeProducer()

    def loseWriteConnection(self) -> None:
        if self._writable and not self.disconnecting:
            self._saysMore = False
            self.other._wake()
            if IHalfCloseableProtocol.providedBy(self._protocol):
                self._clock.callLater(0, self._tellWriteLost)

    def _tellWriteLost(self) -> None:
        if not self._lost:
            self._guarded(self._protocol.writeConnectionLost)

    def _leave(self) -> None:
        self._saysMore = self._held = False
        self._wake()
        self.other._wake()

    def abortConnection(self) -> None:
        if not (self._lost or self._aborting):
            self.disconnecting = self._aborting = True
            self._saysMore = False
            self._incoming.clear()
            self._clock.callLater(0, self._drop, Failure(ConnectionAborted()))

    def _drop(self, reason: Failure) -> None:
        self.lose(reason)
        self.other.lose(self.other._ended() or Failure(ConnectionLost()))

    # reading

    def pauseProducing(self) -> None:
        if not self.disconnecting:
            self._held = True

    def resumeProducing(self) -> None:
        self._held = False
        self._wake()

    def _deliver(self) -> None:
        """L{_flush} does."""

    def _wake(self) -> None:
        if self._turn is None and not (self._held or self._lost):
            self._turn = self._clock.callLater(0, self._flush)

    def _flush(self) -> None:
        self._turn = None
        if self._held or self._lost:
            return
        incoming, self._incoming = self._incoming, bytearray()
        if incoming and not self.disconnecting:
            self._guarded(self._protocol.dataReceived, bytes(incoming))
        if not self._incoming:
            self.other._taken()
        if self._incoming:
            self._wake()
        elif not (self.other._saysMore or self._held or self._lost or self.other._aborting):
            self._hearEnd()

    def _hearEnd(self) -> None:
        """The other side says no more, and all that it said was told."""
        if self.other.disconnecting:
            self.lose(self._ended() or Failure(_DONE))
            self.other.lose(Failure(_DONE))
        elif self._hearsMore:
            self._hearsMore = False
            if IHalfCloseableProtocol.providedBy(self._protocol):
                self._guarded(self._protocol.readConnectionLost)
            else:
                self.lose(self._ended() or Failure(_DONE))
                self.other.lose(Failure(_DONE))

    def _guarded(self, tell: Callable[..., Any], *arguments: Any) -> None:
        """What a protocol raises is the end of its connection, as a reactor has it."""
        try:
            tell(*arguments)
        except BaseException:
            logFault(self._log, "a protocol failed")
            self._drop(Failure())

    def lose(self, reason: Failure) -> None:
        """It is over: tell the protocol."""
        if self._lost:
            return
        self._lost = True
        self._incoming.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        protocol, self._protocol = self._protocol, None
        with suppress(BaseException):  # somebody's producer
            self._stopProducer()
        try:
            protocol.connectionLost(reason)
        except BaseException:
            logFault(self._log, "a protocol failed")

    # who is on the other side of the session

    def getPeer(self) -> Any:
        return self.session.request.client

    def getHost(self) -> Any:
        return self.session.request.host

    def getTcpNoDelay(self) -> bool:
        return self._noDelay

    def setTcpNoDelay(self, enabled: bool) -> None:
        """It is so, whatever is said."""
        self._noDelay = bool(enabled)

    def getTcpKeepAlive(self) -> bool:
        return self._keepAlive

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """So is this."""
        self._keepAlive = bool(enabled)


def pair(
    clock: IReactorTime, session: Session, ended: Callable[[], Failure | None]
) -> tuple[PairedTransport, PairedTransport]:
    """
    @param ended: of the second's protocol: see L{PairedTransport}.
    @return: two sides of one connection.
    """
    near, far = PairedTransport(clock, session), PairedTransport(clock, session, ended)
    near.other, far.other = far, near
    return near, far
