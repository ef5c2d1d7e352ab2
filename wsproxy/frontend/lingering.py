"""The end of a connection to which something is still to be said.

To close a socket with unread input resets it (RFC 9112 section 9.6), and what was written last may then never be seen.
So the connection is closed for writing, and read until its peer has closed it too, or is too slow.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from wsproxy.ends.end import Receiver, ignore
from wsproxy.ends.transport import TransportEnd
from wsproxy.frontend.deadline import Deadline

__all__ = ["LINGER", "Lingering"]

LINGER = 5.0
"""Seconds that a closing connection is read on, and that its peer may go without acknowledging anything."""


class Lingering(TransportEnd):
    """
    Closes its connection after what was written.

    @param tooSlow: called when the peer takes no more of it, before it is cut off.
    """

    def __init__(self, clock: IReactorTime, tooSlow: Callable[[], object] = ignore) -> None:
        super().__init__()
        self._deadline = Deadline(clock, self._expired)
        self._tooSlow = tooSlow
        self._left = 0

    def connectionMade(self) -> None:
        super().connectionMade()
        self._deadline.start(LINGER)
        self.start(Receiver(ignore, self.close, ignore, ignore))
        self.finish()

    def _expired(self) -> None:
        if self._left != (left := self.unsent()):
            self._left = left
            self._deadline.start(LINGER)
        else:
            self._tooSlow()
            self.abort()

    def connectionLost(self, reason: Failure | None = connectionDone) -> None:
        self._deadline.close()
        self._tooSlow = ignore  # it leads back to whoever holds this
        super().connectionLost(connectionDone if reason is None else reason)
