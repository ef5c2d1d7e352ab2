"""Two transports as one: what the one brings the other is given, and each reads no faster than the other writes.

::

    local ◄─► Splice ◄─► Splice ◄─► WebSocket

Nothing is kept in between: each is the producer of the other. The end of the one closes the other, behind what that is
still owed.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Splice", "factoryFor"]


@implementer(IHalfCloseableProtocol)
class Splice(Protocol):
    """
    One of both. It is not read until it is L{join}ed.

    @ivar lost: fires with why its connection has ended.
    """

    transport: Any

    def __init__(self) -> None:
        self.lost: Deferred[BaseException | None] = Deferred()
        self._other: Splice | None = None
        self._ended = self._left = self._deaf = False

    def connectionMade(self) -> None:
        self.transport.pauseProducing()

    def join(self, other: Splice) -> None:
        """From here on they are one. To be called on one of them."""
        for one, another in ((self, other), (other, self)):
            one._other = another
            another.transport.registerProducer(one.transport, True)
        for one in (self, other):
            if one._ended:
                one._end()
            else:
                one.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        if self._other is not None:
            self._other.transport.write(data)

    def readConnectionLost(self) -> None:
        """The end of what it says. A WebSocket has no half of one."""
        self._end()

    def writeConnectionLost(self) -> None:
        """Nobody hears it any more."""
        self._deaf = True
        self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end()
        self._other = None
        if not self.lost.called:
            self.lost.callback(reason.value)

    def _end(self) -> None:
        self._ended = True
        if self._other is not None:
            self._other.leave()

    def leave(self) -> None:
        """Close, behind what was written."""
        if not self._left:
            self._left = True
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            if self._deaf and not self.lost.called:
                self.lost.callback(None)  # stdin and stdout do not say so, where the latter has gone before


class _Single(Factory[Splice]):
    noisy = False

    def __init__(self, splice: Splice) -> None:
        self._splice = splice

    def buildProtocol(self, addr: Any) -> Splice:
        return self._splice


def factoryFor(splice: Splice) -> Factory[Splice]:
    """@return: builds this one."""
    return _Single(splice)
