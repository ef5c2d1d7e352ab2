"""The end of a target to which nobody listens any more.

To close a socket with unread input makes the kernel reset what is on its way in the other direction. So a target that
is not read is closed when all that it is owed has arrived.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from wsproxy.ends.end import End

__all__ = ["LAST_WORDS", "Dismissal"]

LAST_WORDS = 256 * 1024
"""Bytes that a target may say to nobody, a goodbye above all, before it is not read any more."""

_FLUSHING = 0.1
"""Seconds between two looks at whether a target has all that it is owed."""


class Dismissal:
    """That of one target, which is aborted unless it is gone, and L{cancel} called, before.

    @param failed: called with the exception of this moment, where the target raises one.
    """

    __slots__ = ("_clock", "_failed", "_target", "_timer")

    def __init__(self, clock: IReactorTime, target: End, failed: Callable[[], None]) -> None:
        self._clock = clock
        self._failed = failed
        self._target = target
        self._timer: IDelayedCall | None = clock.callLater(_FLUSHING, self._look, self._owes())

    def _owes(self) -> bool:
        return self._target.congested or self._target.unsent() > 0

    def _look(self, owed: bool) -> None:
        """
        @param owed: whether it was owed something a moment ago. A transport may then have bytes that the kernel has
            not.
        """
        self._timer = None
        try:
            self._proceed(owed)
        except BaseException:
            self._failed()

    def _proceed(self, owed: bool) -> None:
        owes = self._owes()
        if owed or owes:
            self._timer = self._clock.callLater(_FLUSHING, self._look, owes)
        else:
            self._target.abort()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
