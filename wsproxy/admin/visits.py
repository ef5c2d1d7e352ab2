"""Connections to the admin side: which of them wait for an answer, and how the others outlive an upgrade.

::

    paused: no more is read ─► who has asked is answered ─► descriptors ─► execv ─► adopted: it is read on

Those that speak TLS cannot be handed over, and are closed.
"""

# twisted.protocols.policies has no annotations.
# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import deferLater
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

__all__ = ["Visit", "Visits"]


_LOOK = 0.01
"""Seconds between two looks at those who wait."""


class Visit(ProtocolWrapper):
    """A connection."""

    factory: Visits
    _asks = False

    def dataReceived(self, data: bytes) -> None:
        self._asks = True
        super().dataReceived(data)

    def answered(self) -> None:
        self._asks = False

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

    @param site: answers, and tells each L{Visit} when it has.
    """

    protocol = Visit
    noisy = False

    def __init__(self, reactor: Any, site: IProtocolFactory) -> None:
        super().__init__(site)
        self.reactor = reactor

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
        for each in descriptors:
            with socket.socket(fileno=each) as connection:
                self.reactor.adoptStreamConnection(each, connection.family, self)
