"""What a node knows of the others, as the settings have it: for one process, and for the parent of several."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.application.service import IService

from wsproxy.cluster.cluster import Cluster, hiding, joinCluster
from wsproxy.cluster.parent import Answers, Parent
from wsproxy.config import ClusterConfig
from wsproxy.nodes.clerk import Clerk, ParentRoster, collect
from wsproxy.nodes.doorman import Doorman
from wsproxy.nodes.follower import LOOK, Follower, Hearer
from wsproxy.nodes.ledger import Ledger
from wsproxy.nodes.log import RevocationLog
from wsproxy.nodes.revocations import Revocations
from wsproxy.nodes.roster import Roster
from wsproxy.nodes.subject import Subjects
from wsproxy.nodes.workers import Foreman, hearParent

__all__ = ["answerNodes", "makeClerk", "makeDoorman", "makeRevocations"]


def makeDoorman(
    config: ClusterConfig, reactor: Any, cluster: Cluster | None, parent: Parent | None
) -> tuple[Doorman | None, tuple[IService, ...]]:
    """
    @return: L{None} where there is no cluster; and what has to be started and stopped with it.
    @raise ConfigError: there can be no such cluster.
    """
    if config.url is None:
        return None, ()
    hide, ledger = hiding(config.url), Ledger(time.time)
    if parent is not None:
        doorman = Doorman(reactor, hide, ledger, config.required)
        hearParent(doorman, parent)
        return doorman, ()
    following = joinCluster(reactor, config.url, LOOK)

    def begin() -> None:
        follower.begin()

    doorman = Doorman(reactor, hide, ledger, config.required, begin)
    follower = _follower(reactor, following, doorman.hear, doorman.know)
    return doorman, (follower,)


def makeClerk(
    reactor: Any, cluster: Cluster | None, parent: Parent | None, clustered: bool
) -> tuple[tuple[Clerk, ...], tuple[IService, ...]]:
    """
    @param clustered: whether there is a cluster, here or with the parent.
    @return: observers of sessions, none where there is no cluster; and what has to be started and stopped with them.
    """
    if parent is not None:
        return ((Clerk(ParentRoster(parent)),) if clustered else ()), ()
    if cluster is None:
        return (), ()
    roster = Roster(reactor, cluster)
    return (Clerk(roster),), (roster,)


def answerNodes(
    config: ClusterConfig, reactor: Any, cluster: Cluster | None, answers: Answers
) -> tuple[Foreman | None, tuple[IService, ...]]:
    """The parent's part."""
    if config.url is None or cluster is None:
        return None, ()
    foreman = Foreman(Ledger(time.time), answers)
    roster = Roster(reactor, cluster)
    collect(roster, answers)
    following = joinCluster(reactor, config.url, LOOK)
    return foreman, (_follower(reactor, following, foreman.hear, foreman.know), roster)


def _follower(reactor: Any, cluster: Cluster, hear: Hearer, know: Callable[[bool], object]) -> Follower:
    return Follower(reactor, cluster.redis, RevocationLog(cluster), hear, know)


def makeRevocations(cluster: Cluster, hear: Hearer = lambda revocations: None) -> Revocations:
    """
    @param hear: of this node: L{Doorman.hear} or L{Foreman.hear}; nobody's, where there is none.
    """
    return Revocations(Subjects(cluster.hidden), hear, RevocationLog(cluster))
