"""When sessions end by the clock: what let them in expires, they have lasted long enough, or nobody says anything.

::

    Identity.expires ─┐ the earlier
    Target.expires  ──┴─────────► expires ─┐
    --session-timeout ──────────► until    ├─► Term ─► looked at when it is due ─► close 4001, and why
    --session-idle-timeout ─────► quiet ───┘

A session without any of these has no L{Term}, and the others cost nothing but when they are looked at: whether somebody
has said something is told by counters that the tunnel has anyway. One timer is for all of them.

I{Two clocks.} What expires does so by the time of day, which may be set, by hand or by NTP, and goes on while a machine
sleeps. Durations are measured by the reactor's clock, which cannot be set (L{wsproxy.daemon.clock}) and may stand still
meanwhile. So what expires is held to both: to the time of day, which is looked at every L{LOOK} seconds, and to the
duration that it had left when it was told. Set either way, no clock keeps a session for more than L{LOOK} seconds
beyond what it may.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from wsproxy.errors import Close, CloseCode
from wsproxy.fault import logFault

__all__ = ["EXPIRED", "IDLE", "LOOK", "OVER", "Expiry", "Term", "Terminable"]

LOOK = 1.0
"""Seconds between two looks at the time of day."""

EXPIRED = Close(CloseCode.EXPIRED, "Token expired")
OVER = Close(CloseCode.EXPIRED, "Session timeout")
IDLE = Close(CloseCode.EXPIRED, "Idle too long")

_PARTS = 8
"""How many looks there are in the time that a session may be idle: by so much of it, an end for that may be late."""

_NEVER = math.inf


class Terminable(Protocol):
    """A session, as far as its end is concerned."""

    @property
    def carried(self) -> int:
        """Bytes of payload so far, both ways."""

    def end(self, close: Close) -> None:
        """Close it, within a time."""


class Term:
    """
    What bounds one session.

    @ivar expires: by the time of day, and C{lasts}: by the other clock.
    @ivar until: C{--session-timeout}'s end, by the other clock.
    @ivar quiet: since when nobody has said anything, as far as is known; by the other clock.
    @ivar queued: when it is looked at next, by each of the clocks.
    """

    __slots__ = ("carried", "expires", "lasts", "queued", "queuedWall", "quiet", "session", "until")

    def __init__(self, session: Terminable, until: float, quiet: float) -> None:
        self.session: Terminable | None = session
        self.expires = self.lasts = self.queued = self.queuedWall = _NEVER
        self.until = until
        self.quiet = quiet
        self.carried = 0


class Expiry:
    """The terms of all sessions.

    @param clock: for durations.
    @param now: the time of day, in seconds since the epoch.
    @param sessionTimeout: seconds that a session lasts at most; 0 for no limit.
    @param idleTimeout: seconds without payload, either way, at most; 0 for no limit.
    @ivar always: whether there is a limit for all of them.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, now: Callable[[], float], sessionTimeout: float = 0.0, idleTimeout: float = 0.0
    ) -> None:
        self._clock = clock
        self._now = now
        self._sessionTimeout = sessionTimeout
        self._idleTimeout = idleTimeout
        self._due, self._dueWall = _Queue(), _Queue()
        self.always = bool(sessionTimeout or idleTimeout)
        self._terms = 0
        self._timer: IDelayedCall | None = None

    def begin(self, session: Terminable, expires: float | None) -> Term:
        """
        @param expires: in seconds since the epoch; L{None} for what does not by itself.
        @return: what bounds this session from now on, until L{end}.
        """
        now = self._clock.seconds()
        term = Term(session, now + (self._sessionTimeout or _NEVER), now)
        self._terms += 1
        self.set(term, expires)
        return term

    def set(self, term: Term, expires: float | None) -> None:
        """From now on it expires then: sooner or later than before, or L{None}: not by itself."""
        if term.session is None:
            return
        now = self._clock.seconds()
        term.expires = _NEVER if expires is None else expires
        term.lasts = _NEVER if expires is None else now + max(0.0, expires - self._now())
        self._enqueue(term, now)
        self._schedule()

    def end(self, term: Term) -> None:
        """Its session has ended."""
        if term.session is None:
            return
        term.session = None
        self._terms -= 1
        if self._terms:
            self._due.leave()
            self._dueWall.leave()
        else:
            self._due, self._dueWall = _Queue(), _Queue()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _enqueue(self, term: Term, now: float) -> None:
        due = min(term.lasts, term.until)
        if self._idleTimeout:
            due = min(due, now + self._idleTimeout / _PARTS, max(now, term.quiet + self._idleTimeout))
        if due < term.queued:
            term.queued = due
            self._due.put(due, term)
        if term.expires < term.queuedWall:
            term.queuedWall = term.expires
            self._dueWall.put(term.expires, term)

    def _schedule(self) -> None:
        due = self._due.next
        if self._dueWall.next < _NEVER:
            due = min(due, self._clock.seconds() + LOOK)
        if due == _NEVER:
            return
        delay = max(0.0, due - self._clock.seconds())
        if self._timer is None:
            self._timer = self._clock.callLater(delay, self._look)
        elif due < self._timer.getTime():
            self._timer.reset(delay)

    def _look(self) -> None:
        self._timer = None
        now, wall = self._clock.seconds(), self._now()
        due = self._due.take(now)
        for term in due:
            term.queued = _NEVER
        dueWall = self._dueWall.take(wall)
        for term in dueWall:
            term.queuedWall = _NEVER
        for term in (*due, *dueWall):
            self._judge(term, now, wall)
        if self._terms:
            self._schedule()

    def _judge(self, term: Term, now: float, wall: float) -> None:
        session = term.session
        if session is None:
            return
        try:
            close = self._verdict(term, session, now, wall)
            if close is not None:
                self.end(term)
                session.end(close)
                return
        except BaseException:  # which would be the end of all other ends
            logFault(self._log, "ending a session")
        self._enqueue(term, now)

    def _verdict(self, term: Term, session: Terminable, now: float, wall: float) -> Close | None:
        if wall >= term.expires or now >= term.lasts:
            return EXPIRED
        if now >= term.until:
            return OVER
        if self._idleTimeout:
            carried = session.carried
            if carried != term.carried:
                term.carried = carried
                term.quiet = now
            elif now - term.quiet >= self._idleTimeout:
                return IDLE
        return None


class _Queue:
    """Terms by when they are due. What has left stays until it is due, or until half of all are such."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Term]] = []
        self._numbers = count()
        self._left = 0

    @property
    def next(self) -> float:
        return self._heap[0][0] if self._heap else _NEVER

    def put(self, when: float, term: Term) -> None:
        heappush(self._heap, (when, next(self._numbers), term))

    def take(self, now: float) -> list[Term]:
        """@return: those that are due."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heappop(self._heap)[2])
        return due

    def leave(self) -> None:
        """One of them has: it is not known where it is."""
        self._left += 1
        if self._left > 64 and 2 * self._left > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].session is not None]
            heapify(self._heap)
            self._left = 0
