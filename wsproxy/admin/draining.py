"""Taking no more sessions, and perhaps ending those that there are, so many a second."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from wsproxy.errors import Close, CloseCode
from wsproxy.sessions.sessions import Sessions

__all__ = ["REASON", "Draining"]

REASON = "Draining"
"""What those read who are turned away, and whose session ends: they may come again, to another node."""

_TICK = 0.1

_WHOLE = 1 - 1e-6
"""One session, as far as tenths add up to one."""


class Draining:
    """That of one process: new upgrades are answered 503, and ports stay open, so that it can be undone."""

    def __init__(self, clock: IReactorTime, sessions: Sessions) -> None:
        self._clock = clock
        self._sessions = sessions
        self._reopen: Callable[[], None] | None = None
        self._loop = LoopingCall.withCount(self._close)
        self._loop.clock = clock
        self._rate = self._owed = 0.0

    @property
    def active(self) -> bool:
        return self._reopen is not None

    def begin(self, rate: float = 0.0) -> None:
        """
        @param rate: sessions a second that are closed, with 1001, the oldest first; 0: none.
        """
        if self._reopen is None:
            self._reopen = self._sessions.refuseNew(REASON)
        self._rate, self._owed = rate, 0.0
        if self._loop.running:
            self._loop.stop()
        if rate:
            self._loop.start(_TICK, now=False)

    def end(self) -> None:
        """Take sessions again; those that are closing already go on to do so."""
        if self._loop.running:
            self._loop.stop()
        if self._reopen is not None:
            self._reopen()
            self._reopen = None

    def _close(self, ticks: int) -> None:
        self._owed += self._rate * _TICK * ticks
        for session in self._sessions:
            if self._owed < _WHOLE:
                return
            if session.open:  # type: ignore[attr-defined]  # ours say so
                self._owed -= 1
                session.close(Close(CloseCode.GOING_AWAY, REASON))
        self._owed = 0.0  # nobody is left; whoever comes nevertheless, of a decision that was made, is next
