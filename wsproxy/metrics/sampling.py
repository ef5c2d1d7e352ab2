"""Open sessions, looked at once a second: how fast they go, how long their bytes wait, and their round trips.

To be told of each message would cost each message. So nobody is told: every L{TICK} a quarter of the sessions is looked
at, each of them once in L{EVERY} seconds. How long a byte waits that finds others in front of it is how many those are
over how many leave a second; where none leave, it is as long as that has been so. And whatever arrives while this
process is busy with something else waits for that: it is how late a tick comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from wsproxy.fault import logFault
from wsproxy.interfaces import Ending, IObserver, Session
from wsproxy.metrics.histogram import Histogram
from wsproxy.tunnel.relay import Traffic

__all__ = ["EVERY", "TICK", "Rates", "Sampling"]

EVERY = 1.0
"""Seconds between two looks at a session."""

_SLICES = 4

TICK = EVERY / _SLICES
"""Seconds between two looks at some of them: 5,000 sessions take 6 ms, which nobody is to wait for at once."""


class Rates(NamedTuple):
    """Bytes a second, of the last second."""

    up: float
    down: float


_STILL = Rates(0.0, 0.0)


class _Looked(Protocol):
    """L{OpenSession<wsproxy.sessions.session.OpenSession>}, as far as it is looked at."""

    @property
    def traffic(self) -> Traffic: ...


@dataclass(slots=True)
class _Seen:
    """What a session looked like the last time, and since when nothing has left of what waits in it."""

    session: _Looked
    since: float
    traffic: Traffic
    rates: Rates
    stuckUp: float | None = None
    stuckDown: float | None = None


@implementer(IObserver)
class Sampling:
    """
    @param histograms: by their names, those that are filled here.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, histograms: dict[str, Histogram]) -> None:
        self._clock = clock
        self._roundTrips, self._delays = histograms["round_trip"], histograms["delay"]
        self._waitingUp, self._waitingDown = histograms["waiting_up"], histograms["waiting_down"]
        self._slices: list[dict[str, _Seen]] = [{} for _ in range(_SLICES)]
        self._places: dict[str, dict[str, _Seen]] = {}
        self._next = 0
        self._due = 0.0
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock

    def opened(self, session: Session) -> None:
        place = self._slices[(self._next - 1) % _SLICES]  # the one just looked at: a whole second from now
        place[session.id] = _Seen(session, self._clock.seconds(), Traffic(), _STILL)  # type: ignore[arg-type]  # ours are
        self._places[session.id] = place
        if not self._loop.running:
            self._due = self._clock.seconds() + TICK
            self._loop.start(TICK, now=False)

    def closed(self, session: Session, ending: Ending) -> None:
        place = self._places.pop(session.id, None)
        if place is not None:
            place.pop(session.id, None)
        if not self._places and self._loop.running:
            self._loop.stop()

    def rates(self, id: str) -> Rates:
        """@return: those of a session; of one that is not open, none."""
        place = self._places.get(id)
        return _STILL if place is None else place[id].rates

    def carried(self) -> tuple[int, int]:
        """@return: bytes that the sessions which are open had carried when they were looked at, up and down."""
        seen = [each.traffic for place in self._slices for each in place.values()]
        return sum(each.up for each in seen), sum(each.down for each in seen)

    def queued(self) -> tuple[int, int]:
        """@return: bytes that waited in them then, up and down."""
        seen = [each.traffic for place in self._slices for each in place.values()]
        return sum(each.queuedUp for each in seen), sum(each.queuedDown for each in seen)

    def _tick(self) -> None:
        now = self._clock.seconds()
        self._delays.add(max(0.0, now - self._due))
        self._due = now + TICK - (now - self._due) % TICK  # as the loop has it: on its beat
        place, self._next = self._slices[self._next], (self._next + 1) % _SLICES
        for seen in tuple(place.values()):
            try:
                self._look(seen, now)
            except BaseException:  # of an embedder's transport; the others are looked at
                logFault(self._log, "looking at a session")

    def _look(self, seen: _Seen, now: float) -> None:
        before, traffic = seen.traffic, seen.session.traffic
        seconds = max(now - seen.since, 1e-6)
        up, down = (traffic.up - before.up) / seconds, (traffic.down - before.down) / seconds
        seen.stuckUp = self._waited(self._waitingUp, traffic.queuedUp, up, seen.stuckUp, now)
        seen.stuckDown = self._waited(self._waitingDown, traffic.queuedDown, down, seen.stuckDown, now)
        if traffic.answers != before.answers and traffic.roundTrip is not None:
            self._roundTrips.add(traffic.roundTrip)
        seen.since, seen.traffic, seen.rates = now, traffic, Rates(up, down)

    def _waited(self, histogram: Histogram, queued: int, rate: float, stuck: float | None, now: float) -> float | None:
        """@return: since when nothing leaves of what waits; L{None} where something does, or nothing waits."""
        if queued and not rate:
            stuck = now - EVERY if stuck is None else stuck
            histogram.add(now - stuck)
            return stuck
        if queued or rate:  # a session that says nothing tells nothing
            histogram.add(queued / rate)
        return None
