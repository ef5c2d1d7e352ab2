"""The other nodes, as the admin side of one knows them: what it may ask, and what it may tell them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from wsproxy.cluster.cluster import Cluster
from wsproxy.nodes.follower import Hearer
from wsproxy.nodes.make import makeRevocations
from wsproxy.nodes.roster import readRoster

__all__ = ["Neighbours"]


class Neighbours:
    """
    @param hear: what ends sessions on this node, at once and whether Redis is there or not.
    """

    def __init__(self, cluster: Cluster, hear: Hearer) -> None:
        self._cluster = cluster
        self._revocations = makeRevocations(cluster, hear)

    def revoke(self, kind: str, name: str, lifetime: float | None = None) -> Deferred[None]:
        """See L{Revocations.revoke<wsproxy.nodes.revocations.Revocations.revoke>}."""
        return self._revocations.revoke(kind, name, lifetime)

    async def sessions(self) -> list[dict[str, Any]]:
        """
        @return: those of all nodes, the oldest first.
        @raise RedisError: nobody can tell.
        """
        return await readRoster(self._cluster)
