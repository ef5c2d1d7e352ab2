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
from dataclasses import asdict
from enum import Enum
from heapq import heappop, heappush
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred

from wsproxy.cluster.cluster import Cluster
from wsproxy.cluster.parent import Parent
from wsproxy.links.ticket import Ticket

__all__ = ["MOST", "VERB", "Asked", "Memory", "Once", "Outcome", "Shared", "answering", "rememberer"]

MOST = 100_000
"""Links that are remembered at a time, in 25 MB. Each is forgotten when it expires; none that is more is let in."""

VERB = "links.once"
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
    UNKNOWN = "nobody can tell"


class Once(Protocol):
    def spend(self, ticket: Ticket, pretend: bool) -> Any:
        """
        @param pretend: only tell what would become of it.
        @return: an L{Outcome}, or a Deferred of one. Whatever it fails with, the link is not to be taken.
        """


class Memory:
    """
    @param now: the time of day, in seconds since the epoch.
    @param since: when it began; by default now.
    """

    def __init__(self, now: Callable[[], float] = time.time, since: float | None = None) -> None:
        self._now = now
        self._since = now() if since is None else since
        self._latest = self._since
        self._used: set[str] = set()
        self._ends: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._used)

    def spend(self, ticket: Ticket, pretend: bool) -> Outcome:
        now = self._now()
        self._latest = max(self._latest, now)
        self._forget()
        if ticket.expires <= self._latest:  # the clock was set back meanwhile, and such links are forgotten
            return Outcome.UNKNOWN
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

    def state(self) -> list[Any]:
        """@return: all of it, as JSON can say it."""
        return [self._since, self._latest, self._ends]

    def resume(self, state: list[Any]) -> None:
        """Remember what another one did: links are good that were made since that began, and used by nobody."""
        since, latest, ends = state
        self._since, self._latest = min(self._since, since), max(self._latest, latest)
        for expires, name in ends:
            if name not in self._used:
                self._used.add(name)
                heappush(self._ends, (expires, name))

    def _forget(self) -> None:
        while self._ends and self._ends[0][0] <= self._latest:
            self._used.discard(heappop(self._ends)[1])


class Asked:
    """@param parent: who remembers."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent

    def spend(self, ticket: Ticket, pretend: bool) -> Deferred[Outcome]:
        fields: dict[str, Any] = {**asdict(ticket), "pretend": pretend}
        return self._parent.ask(VERB, **fields).addCallback(lambda name: Outcome[name])


class Shared:
    """
    @param cluster: whose keys have a lifetime: that of the link.
    @param now: the time of day, in seconds since the epoch.
    """

    def __init__(self, cluster: Cluster, now: Callable[[], float] = time.time) -> None:
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


def rememberer(cluster: Cluster | None, parent: Parent | None = None, *, explaining: bool = False) -> Once:
    """
    @param cluster: the nodes that have a Redis in common.
    @param parent: of a worker, which has to do with that itself.
    @param explaining: nobody comes in here, and what others have in their memory is unknown: what could be good is.
    """
    if parent is not None:
        return Asked(parent)
    return Memory(since=0.0 if explaining else None) if cluster is None else Shared(cluster)


def answering(once: Once) -> Callable[..., Deferred[str]]:
    """@return: what a parent answers its workers with: see L{Asked}."""

    def answer(asker: Any, name: str, expires: float, issued: float | None, pretend: bool) -> Deferred[str]:
        outcome = maybeDeferred(once.spend, Ticket(name, expires, issued), pretend)
        return outcome.addCallbacks(lambda outcome: outcome.name, lambda _: Outcome.UNKNOWN.name)

    return answer
