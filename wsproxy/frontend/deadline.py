"""A total deadline for one stage of a connection: no trickle of bytes extends it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Deadline"]


class Deadline:
    """Calls C{expired} unless the stage ends in time.

    Whoever owns a deadline is what it calls: to be freed at once, without waiting for the garbage collector, the owner
    L{close}s it.
    """

    __slots__ = ("_call", "_clock", "_expired")

    def __init__(self, clock: IReactorTime, expired: Callable[[], None]) -> None:
        self._clock = clock
        self._expired: Callable[[], None] | None = expired
        self._call: IDelayedCall | None = None

    def start(self, seconds: float) -> None:
        """Begin the next stage: C{seconds} from now, whatever was left of the last one."""
        if self._call is not None and self._call.active():
            self._call.reset(seconds)
        elif self._expired is not None:
            self._call = self._clock.callLater(seconds, self._expired)

    def cancel(self) -> None:
        """The stage is over."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def close(self) -> None:
        """The connection is over: no further stage begins."""
        self.cancel()
        self._expired = None
