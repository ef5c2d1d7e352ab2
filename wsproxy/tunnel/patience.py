"""How long a tunnel waits for somebody to take what they are owed, or to say that they are gone."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["CLOSE_TIMEOUT", "STALL_LIMIT", "Patience"]

CLOSE_TIMEOUT = 5.0
"""Seconds a closing side is waited for."""

STALL_LIMIT = 6
"""How many times in a row L{CLOSE_TIMEOUT} may pass while the client acknowledges nothing of what it is still owed."""


class Patience:
    """That of one tunnel: one timer, which the tunnel starts again as long as it L{lasts}.

    @ivar limit: how many times in a row it may pass without anything moving; for others to set.
    """

    __slots__ = ("_clock", "_stalled", "_timer", "_unmoved", "limit")

    def __init__(self, clock: IReactorTime) -> None:
        self.limit = STALL_LIMIT
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._stalled = 0  # how many have passed so, in a row
        self._unmoved: object = 0  # what has to change meanwhile

    def start(self, passed: Callable[[], None]) -> None:
        """Have C{passed} called L{CLOSE_TIMEOUT} seconds from now, and no sooner."""
        if self._timer is None:
            self._timer = self._clock.callLater(CLOSE_TIMEOUT, self._passed, passed)
        else:
            self._timer.reset(CLOSE_TIMEOUT)

    def _passed(self, passed: Callable[[], None]) -> None:
        self._timer = None
        passed()

    def watch(self, moving: object) -> None:
        """From here on this has to change."""
        self._unmoved = moving
        self._stalled = 0

    def lasts(self, moving: object) -> bool:
        """
        The time has passed.

        @param moving: what changes as long as somebody takes what they are owed; false where nobody is owed anything.
        @return: whether to wait once more.
        """
        self._stalled = 0 if moving != self._unmoved else self._stalled + 1
        self._unmoved = moving
        return bool(moving) and self._stalled < self.limit

    def stop(self) -> None:
        """Nobody is waited for any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
