"""Who remembers which links have been used: this process, its parent for all workers, or the nodes' Redis.

::

    Links ─► Memory                              a single process
          ─► Asked ─ channel ─► Memory           a worker, and its parent
          ─► Shared ─► Redis                     --cluster

A memory of our own ends with its process. So it takes only links that were made since it began: whether an older one
was used before a restart, nobody knows. Redis remembers across that, until each of them has expired.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from enum import Enum
from heapq import heappop, heappush
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from wsproxy.links.ticket import Ticket

__all__ = ["MOST", "VERB", "Asked", "Memory", "Once", "Outcome", "Shared"]

MOST = 100_000
"""Links that are remembered at a time, in 25 MB. Each is forgotten when it expires; none that is more is let in."""

VERB = "once"
"""What a worker asks its parent."""

_SKEW = 60
"""Seconds that a node's clock may be behind Redis': until it, too, takes a link for expired."""


class Outcome(Enum):
    """What became of a ticket."""

    GOOD = "used now, or still to be used"
    USED = "used before"
    OLD = "made before the memory began"
    UNDATED = "when it was made, it does not say"
    AHEAD = "made in the future"
    FULL = "there is no more room"


class Once(Protocol):
    def spend(self, ticket: Ticket, pretend: bool) -> Any:
        """
        @param pretend: only tell what would become of it.
        @return: an L{Outcome}, or a Deferred of one. Whatever it fails with, the link is not to be taken.
        """


class Memory:
    """@param now: the time of day, in seconds since the epoch."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._since = now()
        self._used: set[str] = set()
        self._ends: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._used)

    def spend(self, ticket: Ticket, pretend: bool) -> Outcome:
        now = self._now()
        self._forget(now)
        if ticket.issued is None:
            return Outcome.UNDATED
        if ticket.issued > now:  # and was it used when we are restarted until then, nobody would know
            return Outcome.AHEAD
        if ticket.issued < self._since:
            return Outcome.OLD
        if ticket.name in self._used:
            return Outcome.USED
        if len(self._used) >= MOST:
            return Outcome.FULL
        if not pretend:
            self._used.add(ticket.name)
            heappush(self._ends, (ticket.expires, ticket.name))
        return Outcome.GOOD

    def _forget(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            self._used.discard(heappop(self._ends)[1])

    def answer(self, name: str, expires: float, issued: float | None, pretend: bool) -> str:
        """To a worker's question: L{VERB}."""
        return self.spend(Ticket(name, expires, issued), pretend).name


class Asked:
    """@param ask: puts a question with these fields to the parent."""

    def __init__(self, ask: Callable[..., Deferred[Any]]) -> None:
        self._ask = ask

    def spend(self, ticket: Ticket, pretend: bool) -> Deferred[Outcome]:
        fields = {"name": ticket.name, "expires": ticket.expires, "issued": ticket.issued, "pretend": pretend}
        return self._ask(VERB, **fields).addCallback(lambda name: Outcome[name])


class Nodes(Protocol):
    """What L{Cluster<wsproxy.cluster.cluster.Cluster>} can do, as far as it matters here."""

    @property
    def redis(self) -> Any: ...

    def key(self, *names: str) -> str: ...

    def hidden(self, secret: str) -> str: ...


class Shared:
    """
    @param cluster: whose keys have a lifetime: that of the link.
    @param now: the time of day, in seconds since the epoch.
    """

    def __init__(self, cluster: Nodes, now: Callable[[], float] = time.time) -> None:
        self._cluster = cluster
        self._now = now

    def spend(self, ticket: Ticket, pretend: bool) -> Deferred[Outcome]:
        key = self._cluster.key("once", self._cluster.hidden(ticket.name))
        answer: Deferred[Any]
        if pretend:
            answer = self._cluster.redis.execute("EXISTS", key)
            return answer.addCallback(lambda count: _outcome(count == 0))
        seconds = math.ceil(ticket.expires - self._now()) + _SKEW
        answer = self._cluster.redis.execute("SET", key, "1", "NX", "EX", max(seconds, 1))
        return answer.addCallback(lambda status: _outcome(status == "OK"))


def _outcome(good: bool) -> Outcome:
    return Outcome.GOOD if good else Outcome.USED
