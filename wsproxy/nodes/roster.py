"""Which sessions each node has, in Redis, for whoever asks at another one.

::

    wsproxy:PREFIX:nodes            a sorted set: nodes, by when they are given up
    wsproxy:PREFIX:node:NODE        a hash: the ids of its sessions, and of each a summary, sealed

Both have a lifetime of L{LIFETIME} seconds, which a node renews; so one that has died is gone by itself. What comes and
goes is written in pieces, a quarter of a second later. Where Redis has something else than it should, because it was
away or has lost it, all is written anew.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.cluster.cluster import Cluster
from wsproxy.cluster.errors import RedisError
from wsproxy.cluster.script import NOW, Script
from wsproxy.fault import logFault

__all__ = ["LIFETIME", "Roster", "readRoster"]

LIFETIME = 10.0
"""Seconds that a node is believed to be there when it says nothing; renewed three times in that time."""

_DELAY = 0.25
"""Seconds until what comes and goes is written: many sessions at a time."""

_AT_ONCE = 200
"""Sessions in one command, 50 KB: nobody else is served meanwhile."""

_ADD = Script(
    f"""{NOW}
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
)

_RENEW = Script(
    f"""{NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], now + ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('HLEN', KEYS[1])
"""
)

_NODES = Script(f"{NOW} return redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')")


class Roster(Service):
    """
    This node's part.

    @ivar node: what it is called in Redis.
    """

    _log = Logger()

    def __init__(self, clock: Any, cluster: Cluster) -> None:
        self.node = secrets.token_hex(8)
        self._clock = clock
        self._cluster = cluster
        self._redis = cluster.redis
        self._lifetime = int(1000 * LIFETIME)
        self._name = f"{socket.gethostname()}:{self.node[:4]}"  # for people: a machine may have several
        self._keys = (cluster.key("node", self.node), cluster.key("nodes"))
        self._there: dict[str, bytes] = {}
        self._changed: dict[str, None] = {}  # in the order in which they did
        self._later: IDelayedCall | None = None
        self._writing = False
        self._strange = False  # whether Redis may have something else
        self._renewing = LoopingCall(self._renew)
        self._renewing.clock = clock
        self._redis.whenFound(self._renew)
        self._redis.beforeLeaving(self._leave)

    def startService(self) -> None:
        super().startService()
        self._renewing.start(LIFETIME / 3).addErrback(lambda failure: logFault(self._log, "renewing", failure))

    def stopService(self) -> None:
        super().stopService()
        if self._renewing.running:
            self._renewing.stop()
        if self._later is not None and self._later.active():
            self._later.cancel()

    # What there is

    def add(self, id: str, summary: Mapping[str, Any]) -> None:
        """@param summary: of what JSON can say, and never a token."""
        text = json.dumps({"node": self._name, **summary}, separators=(",", ":"))
        self._there[id] = self._cluster.seal(text.encode(), id.encode())
        self._change(id)

    def remove(self, id: str) -> None:
        if self._there.pop(id, None) is not None:
            self._change(id)

    def _change(self, id: str) -> None:
        if self._strange:
            return  # all is written anew
        self._changed[id] = None
        if self.running and not self._writing and (self._later is None or not self._later.active()):
            self._later = self._clock.callLater(_DELAY, self._write)

    # What Redis has of it

    def _write(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._writeAll()).addErrback(_ignore)

    async def _writeAll(self) -> None:
        """One piece after the other."""
        if self._writing:
            return
        self._writing = True
        try:
            while self._changed:
                ids = [*islice(self._changed, _AT_ONCE)]
                for id in ids:
                    del self._changed[id]
                await self._tell(ids)
        except RedisError:
            self._strange = True
            self._changed.clear()
            raise
        finally:
            self._writing = False

    async def _tell(self, ids: Sequence[str]) -> None:
        pairs: list[str | bytes] = [word for id in ids if id in self._there for word in (id, self._there[id])]
        gone = [id for id in ids if id not in self._there]
        if pairs:
            await _ADD.run(self._redis, self._keys[:1], self._lifetime, *pairs)
        if gone:
            await self._redis.execute("HDEL", self._keys[0], *gone)

    def _renew(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._renewAll()).addErrback(_ignore)

    async def _renewAll(self) -> None:
        known = await _RENEW.run(self._redis, self._keys, self._lifetime, self.node)
        if self._strange or (known != len(self._there) and not self._writing and not self._changed):
            await self._redis.execute("DEL", self._keys[0])
            self._strange, self._changed = False, dict.fromkeys(self._there)
        await self._writeAll()

    def _leave(self) -> None:
        """All of this ends, and its sessions with it."""
        self._there.clear()
        self._changed.clear()
        self._redis.execute("DEL", self._keys[0]).addErrback(_ignore)
        self._redis.execute("ZREM", self._keys[1], self.node).addErrback(_ignore)


def _ignore(failure: Failure) -> None:
    failure.trap(RedisError)


async def readRoster(cluster: Cluster) -> list[dict[str, Any]]:
    """
    @return: the sessions of all nodes, the oldest first; what nobody here understands is left out.
    @raise RedisError: nobody can tell.
    """
    found = []
    for node in await _NODES.run(cluster.redis, [cluster.key("nodes")]):
        found += await _sessionsOf(cluster, cluster.key("node", node.decode("ascii")))
    return sorted(found, key=lambda session: session["started"])


async def _sessionsOf(cluster: Cluster, key: str) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}  # HSCAN may name one twice
    cursor = b"0"
    while True:
        cursor, words = await cluster.redis.execute("HSCAN", key, cursor, "COUNT", _AT_ONCE)
        for id, sealed in zip(words[::2], words[1::2], strict=True):
            try:
                summary = json.loads(cluster.unseal(sealed, id))
                found[id] = {"id": id.decode("ascii"), **summary, "started": float(summary["started"])}
            except (ValueError, TypeError, KeyError):
                continue
        if cursor == b"0":
            return [*found.values()]
