"""Connections to the admin side: which of them wait for an answer, and how the others outlive an upgrade.

::

    paused: no more is read ─► who has asked is answered ─► descriptors ─► execv ─► adopted: it is read on

Those that speak TLS cannot be handed over, and are closed.

Anybody may come to --health. So there are only so many at a time, of whom the oldest has to go that is not being
answered; and a request that does not come is not waited for.
"""

# twisted.protocols.policies has no annotations.
# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

__all__ = ["WHOLE_WITHIN", "Visit", "Visits"]

WHOLE_WITHIN = 10.0
"""Seconds for a request to come, TLS included; as C{--handshake-timeout} is at the front door."""

_LOOK = 0.01
"""Seconds between two looks at those who wait."""


class Visit(ProtocolWrapper):
    """A connection."""

    factory: Visits
    _asks = False
    _due: IDelayedCall | None = None
    isAnswered = False
    """Whether a whole request is there, which somebody is about to answer."""
    isDropped = False

    def connectionMade(self) -> None:
        if not self.factory.isAdopting:
            self._hurry()
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if not self._asks:
            self._hurry()
        self._asks = True
        super().dataReceived(data)

    def arrived(self) -> None:
        """A request is whole."""
        self._asks = self.isAnswered = True
        self._relax()

    def answered(self) -> None:
        """It has its answer. What came behind it, of another, has the time that an idle connection has."""
        self._asks = self.isAnswered = False

    def drop(self) -> None:
        """Whoever this is may come again."""
        transport: Any = self.transport
        self.isDropped = True
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._relax()
        super().connectionLost(reason)

    def _hurry(self) -> None:
        if self._due is None:
            self._due = self.factory.reactor.callLater(WHOLE_WITHIN, self.drop)

    def _relax(self) -> None:
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None

    @property
    def isWaiting(self) -> bool:
        """It has begun to ask, and is not answered; or what has been answered has not left."""
        return self._asks or self.transport in self.factory.reactor.getWriters()

    @property
    def isPlain(self) -> bool:
        """Whether it is a socket, of which no more is known than its descriptor."""
        transport: Any = self.transport
        return isinstance(transport, (tcp.Server, unix.Server)) and not getattr(transport, "TLS", False)


class Visits(WrappingFactory[Visit]):
    """
    Those of one site.

    @param site: answers, and tells each L{Visit} when a request is there and when it has been answered.
    @param most: how many there may be at a time.
    """

    protocol = Visit
    noisy = False

    def __init__(self, reactor: Any, site: IProtocolFactory, most: int) -> None:
        super().__init__(site)
        self.reactor = reactor
        self._most = most
        self.isAdopting = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """@return: L{None} where there are too many who are being answered."""
        visits = [visit for visit in self.protocols if not visit.isDropped]
        if len(visits) >= self._most:
            waiting = next((visit for visit in visits if not visit.isAnswered), None)
            if waiting is None:
                return None
            waiting.drop()
        return super().buildProtocol(addr)

    async def pause(self) -> None:
        """Read no more of those who have not asked, until nobody waits for an answer."""
        while True:
            visits = self._visits()
            for visit in visits:
                if not visit.isWaiting:
                    visit.transport.pauseProducing()
            if not any(visit.isWaiting for visit in visits):
                return
            await deferLater(self.reactor, _LOOK)

    def resume(self) -> None:
        """Read on."""
        for visit in self._visits():
            if not visit.isWaiting:
                visit.transport.resumeProducing()

    def _visits(self) -> list[Any]:
        return [visit for visit in self.protocols if visit.transport is not None and not visit.disconnecting]

    def descriptors(self) -> list[int]:
        """@return: of those that can be handed over."""
        return [visit.transport.fileno() for visit in self._visits() if visit.isPlain and not visit.isWaiting]

    def adopt(self, descriptors: Iterable[int]) -> None:
        """Go on with these, which become this object's."""
        self.isAdopting = True  # these have been there for a while
        for each in descriptors:
            with socket.socket(fileno=each) as connection:
                self.reactor.adoptStreamConnection(each, connection.family, self)
        self.isAdopting = False
