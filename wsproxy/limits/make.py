"""Who counts, as the settings have it: for one process, for its workers, for a cluster."""

from __future__ import annotations

from collections.abc import Callable
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

__all__ = ["answerLimits", "makeSessionLimits", "makeThrottle"]


def makeSessionLimits(
    config: LimitsConfig,
    reactor: Any,
    tokenOf: Callable[[Request], str | None] | None,
    cluster: Cluster | None,
    parent: Parent | None,
) -> tuple[SessionLimits | None, tuple[IService, ...]]:
    """@return: L{None} where nothing is limited; and what has to be started and stopped with it."""
    limits = _limits(config)
    if not limits:
        return None, ()
    tally, services = (ParentTally(parent), ()) if parent is not None else _tally(limits, reactor, cluster)
    return SessionLimits(tally, limits, tokenOf), services


def makeThrottle(reactor: Any, cluster: Cluster | None, parent: Parent | None, clustered: bool) -> Throttle:
    """
    @param clustered: whether there is a cluster, here or with the parent.
    """
    if parent is not None:
        return Throttle(ParentBook(Guesses(reactor.seconds), parent, clustered))
    return Throttle(_book(reactor, cluster))


def answerLimits(
    config: LimitsConfig, reactor: Any, cluster: Cluster | None, answers: Answers
) -> tuple[IService, ...]:
    """The parent's part of both."""
    answerGuesses(_book(reactor, cluster), answers)
    limits = _limits(config)
    if not limits:
        return ()
    tally, services = _tally(limits, reactor, cluster)
    Leases(tally, answers)
    return services


def _limits(config: LimitsConfig) -> dict[str, int]:
    most = {
        "all": config.sessions,
        "client": config.perClient,
        "identity": config.perIdentity,
        "token": config.perToken,
    }
    return {kind: limit for kind, limit in most.items() if limit}


def _tally(limits: dict[str, int], reactor: Any, cluster: Cluster | None) -> tuple[Tally, tuple[IService, ...]]:
    own = Counts(limits)
    if cluster is None:
        return own, ()
    tally = ClusterTally(reactor, own, cluster, limits)
    return tally, (tally,)


def _book(reactor: Any, cluster: Cluster | None) -> Book:
    guesses = Guesses(reactor.seconds)
    return OwnBook(guesses) if cluster is None else ClusterBook(guesses, cluster)
