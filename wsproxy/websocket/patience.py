"""How long a server is waited for that owes something, and whether it is still there at all."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall

__all__ = ["HEARTBEAT", "PATIENCE", "Heartbeat", "Patience"]

HEARTBEAT = 25.0
"""Seconds from ping to ping."""

PATIENCE = 5.0
"""Seconds that a server has for what it owes."""

_LOOKS = 5
"""How often it is looked at in that time."""

_SILENT = 2
"""Intervals without a sign of life, in a row."""


class Patience:
    """
    That with one server.

    @param moving: what changes as long as it takes what it is owed, or says something.
    @param expired: called when that has been the same for L{PATIENCE} seconds.
    """

    __slots__ = ("_clock", "_expired", "_last", "_moving", "_timer", "_unmoved")

    def __init__(self, clock: IReactorTime, moving: Callable[[], object], expired: Callable[[], None]) -> None:
        self._clock = clock
        self._moving = moving
        self._expired = expired
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """From now on. Harmless when it has begun."""
        if self._timer is None:
            self._last = self._moving()
            self._unmoved = 0
            self._timer = self._clock.callLater(PATIENCE / _LOOKS, self._look)

    def _look(self) -> None:
        now = self._moving()
        self._unmoved = self._unmoved + 1 if now == self._last else 0
        self._last = now
        if self._unmoved < _LOOKS:
            self._timer = self._clock.callLater(PATIENCE / _LOOKS, self._look)
        else:
            self._timer = None
            self._expired()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Heartbeat:
    """
    That of one server.

    @param interval: seconds; 0 for none.
    @param silent: whether there was no sign of life since the last beat, where there should have been one.
    @param ping: asks for one.
    @param lost: called after two intervals without.
    """

    __slots__ = ("_loop", "_lost", "_ping", "_silent", "_times")

    def __init__(
        self,
        clock: IReactorTime,
        interval: float,
        silent: Callable[[], bool],
        ping: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._silent = silent
        self._ping = ping
        self._lost = lost
        self._times = 0
        self._loop = LoopingCall(self._beat)
        self._loop.clock = clock
        if interval:
            self._loop.start(interval, now=False)

    def _beat(self) -> None:
        self._times = self._times + 1 if self._silent() else 0
        if self._times < _SILENT:
            self._ping()
        else:
            self.stop()
            self._lost()

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()
