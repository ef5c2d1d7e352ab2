"""Who counts, as the settings have it: for one process, for its workers, for a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import IService

from wsproxy.cluster.cluster import Cluster
from wsproxy.cluster.parent import Answers, Parent
from wsproxy.config import LimitsConfig
from wsproxy.interfaces import Request
from wsproxy.limits.books import Book, ClusterBook, OwnBook, ParentBook, answerGuesses
from wsproxy.limits.clustered import ClusterTally
from wsproxy.limits.counts import Counts, Tally
from wsproxy.limits.guesses import Guesses
from wsproxy.limits.leases import Leases, ParentTally
from wsproxy.limits.throttle import Throttle
from wsproxy.limits.turnstile import SessionLimits

__all__ = ["answerLimits", "limitsOf", "makeSessionLimits", "makeTally", "makeThrottle"]


def limitsOf(config: LimitsConfig) -> dict[str, int]:
    """@return: how many there may be, by kind."""
    most = {
        "all": config.sessions,
        "client": config.perClient,
        "identity": config.perIdentity,
        "token": config.perToken,
    }
    return {kind: limit for kind, limit in most.items() if limit}


def makeTally(
    limits: Mapping[str, int], reactor: Any, cluster: Cluster | None, parent: Parent | None, required: bool = False
) -> tuple[Tally, tuple[IService, ...]]:
    """
    @param limits: of all routes; they may change.
    @param required: let nobody in while the cluster cannot count.
    @return: who counts; and what has to be started and stopped with it.
    """
    if parent is not None:
        return ParentTally(parent), ()
    own = Counts(limits)
    if cluster is None:
        return own, ()
    tally = ClusterTally(reactor, own, cluster, limits, required=required)
    return tally, (tally,)


def makeSessionLimits(
    config: LimitsConfig,
    tally: Callable[[], Tally],
    tokenOf: Callable[[Request], str | None] | None,
    own: LimitsConfig,
    route: str,
) -> SessionLimits | None:
    """
    @param own: of C{route} alone.
    @return: L{None} where nothing is limited.
    """
    limits, ofRoute = limitsOf(config), limitsOf(own)
    return SessionLimits(tally(), limits, tokenOf, ofRoute, route) if limits or ofRoute else None


def makeThrottle(reactor: Any, cluster: Cluster | None, parent: Parent | None, clustered: bool) -> Throttle:
    """
    @param clustered: whether there is a cluster, here or with the parent.
    """
    if parent is not None:
        return Throttle(ParentBook(Guesses(reactor.seconds), parent, clustered))
    return Throttle(_book(reactor, cluster))


def answerLimits(tally: Tally, reactor: Any, cluster: Cluster | None, answers: Answers) -> None:
    """The parent's part of both."""
    answerGuesses(_book(reactor, cluster), answers)
    Leases(tally, answers)


def _book(reactor: Any, cluster: Cluster | None) -> Book:
    guesses = Guesses(reactor.seconds)
    return OwnBook(guesses) if cluster is None else ClusterBook(guesses, cluster)
