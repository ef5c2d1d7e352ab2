"""Sessions counted for all nodes of a cluster: each has a lease in Redis, which its node renews.

::

    wsproxy:PREFIX:sessions:all                     a sorted set: leases NODE:N, by when they are over
    wsproxy:PREFIX:sessions:client:192.0.2.1
    wsproxy:PREFIX:sessions:identity:HMAC           no name and no token stands there
    wsproxy:PREFIX:sessions:token:HMAC

A node that dies renews nothing, so that its sessions are counted for L{LEASE} seconds more and then no longer. While
Redis is away each node goes on with its own counts; what has been let in meanwhile is counted as soon as it is back.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.cluster.cluster import Cluster
from wsproxy.cluster.errors import RedisAway, RedisError
from wsproxy.cluster.script import NOW, Script
from wsproxy.fault import logFault
from wsproxy.limits.counts import Counts, Full, Give, Unknown
from wsproxy.limits.subjects import Subject, Subjects, plainKind

__all__ = ["LEASE", "ClusterTally"]

LEASE = 30.0
"""Seconds that a session is counted for which nobody renews; renewed three times in that time."""

_NO_LIMIT = 1 << 53

_AT_ONCE = 100
"""Keys and their leases in one command: neither we nor Redis serve anybody else meanwhile."""

_LOOK = f"""{NOW}
for i, key in ipairs(KEYS) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    if redis.call('ZCARD', key) >= tonumber(ARGV[i]) then return i end
end
"""

_LOOKS = Script(f"{_LOOK}return 0")

_TAKE = Script(
    f"""{_LOOK}
local over = now + ARGV[#ARGV]
for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, over, ARGV[#ARGV - 1])
    redis.call('PEXPIRE', key, ARGV[#ARGV])
end
return 0
"""
)

_RENEW = Script(
    f"""{NOW}
for i, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + ARGV[1], ARGV[i + 1])
    redis.call('PEXPIRE', key, ARGV[1])
end
"""
)


class ClusterTally(Service):
    """
    A L{Tally<wsproxy.limits.counts.Tally>} of all nodes.

    @param own: the counts of this node.
    @param lease: seconds.
    @param required: what this node knows by itself does not do while Redis is away.
    """

    _log = Logger()

    def __init__(
        self,
        clock: Any,
        own: Counts,
        cluster: Cluster,
        limits: Mapping[str, int],
        lease: float = LEASE,
        required: bool = False,
    ) -> None:
        self._required = required
        self._own = own
        self._cluster = cluster
        self._redis = cluster.redis
        self._limits = limits
        self._lease = int(1000 * lease)
        self._node = secrets.token_hex(8)
        self._numbers = count()
        self._leases: dict[str, Sequence[str]] = {}  # keys, by lease
        self._unanswered: set[str] = set()  # of these, who may not have been given any: renewing would take them
        self._alone = False
        self._renewing = LoopingCall(self._renew)
        self._renewing.clock = clock
        self._redis.whenFound(self._renew)
        self._redis.beforeLeaving(self._leave)

    def startService(self) -> None:
        super().startService()
        self._renewing.start(self._lease / 3000, now=False).addErrback(
            lambda failure: logFault(self._log, "renewing leases", failure)
        )

    def stopService(self) -> None:
        super().stopService()
        if self._renewing.running:
            self._renewing.stop()

    def take(self, subjects: Subjects) -> Give | Deferred[Give]:
        give = self._own.take(subjects)
        if not subjects:
            return give
        lease, keys = f"{self._node}:{next(self._numbers)}", self._keys(subjects)
        self._leases[lease] = keys
        self._unanswered.add(lease)
        taken: Deferred[Give] = Deferred(lambda _: self._give(give, lease))
        asked = _TAKE.run(self._redis, keys, *self._most(subjects), lease, self._lease)
        asked.addErrback(self._goOn).addCallbacks(
            self._answered, self._unknown, (taken, subjects, give, lease), {}, (taken, give, lease), {}
        )
        asked.addErrback(lambda failure: logFault(self._log, "counting sessions", failure))
        return taken

    def _answered(self, full: object, taken: Deferred[Give], subjects: Subjects, give: Give, lease: str) -> None:
        self._unanswered.discard(lease)
        if taken.called:
            return  # nobody waits, and it has been given back already
        kind = _kind(full, subjects)
        if kind is None:
            taken.callback(partial(self._give, give, lease))
        else:
            del self._leases[lease]
            give()
            taken.errback(Full(kind))

    def _unknown(self, failure: Failure, taken: Deferred[Give], give: Give, lease: str) -> None:
        self._unanswered.discard(lease)
        if not taken.called:
            self._give(give, lease)
            taken.errback(failure)

    def look(self, subjects: Subjects) -> Deferred[None] | None:
        self._own.look(subjects)
        if not subjects:
            return None
        asked = _LOOKS.run(self._redis, self._keys(subjects), *self._most(subjects))
        return asked.addErrback(self._goOn).addCallback(self._looked, subjects)

    def _looked(self, full: object, subjects: Subjects) -> None:
        kind = _kind(full, subjects)
        if kind is not None:
            raise Full(kind)

    def _give(self, give: Give, lease: str) -> None:
        give()
        for key in self._leases.pop(lease, ()):
            self._redis.execute("ZREM", key, lease).addErrback(_ignore)

    def _goOn(self, failure: Failure) -> int:
        """Redis cannot say: what this node knows by itself has to do. Its log has said already that it is away."""
        failure.trap(RedisError)
        if not failure.check(RedisAway) and not self._alone:
            self._alone = True
            text = "Sessions are limited by the counts of this node alone: {error}"
            self._log.warn(text, error=failure.getErrorMessage())
        if self._required:
            raise Unknown("Redis is away, and --cluster-required")
        return 0

    def _renew(self) -> Deferred[None]:
        self._alone = False
        return Deferred.fromCoroutine(self._renewAll()).addErrback(_ignore)

    async def _renewAll(self) -> None:
        """One command after the other: those of 10,000 sessions in one go would hold up everybody else."""
        pairs = [(key, lease) for lease, keys in self._leases.items() for key in keys if lease not in self._unanswered]
        for start in range(0, len(pairs), _AT_ONCE):
            left = [pair for pair in pairs[start : start + _AT_ONCE] if pair[1] in self._leases]
            if left:  # others were given back meanwhile
                await _RENEW.run(self._redis, [key for key, _ in left], self._lease, *(lease for _, lease in left))

    def _leave(self) -> None:
        """All of this ends, and its sessions with it."""
        byKey: defaultdict[str, list[str]] = defaultdict(list)
        for lease, keys in self._leases.items():
            for key in keys:
                byKey[key].append(lease)
        self._leases.clear()
        for key, leases in byKey.items():
            self._redis.execute("ZREM", key, *leases).addErrback(_ignore)

    def _keys(self, subjects: Subjects) -> list[str]:
        return [self._cluster.key("sessions", *self._names(subject)) for subject in subjects]

    def _names(self, subject: Subject) -> tuple[str, ...]:
        (kind, name), what = subject, plainKind(subject[0])
        if what == "all":
            return (kind,)
        return kind, self._cluster.hidden(f"{what}:{name}") if what in ("identity", "token") else name

    def _most(self, subjects: Subjects) -> list[int]:
        return [self._limits.get(kind, _NO_LIMIT) for kind, _ in subjects]


def _kind(full: object, subjects: Subjects) -> str | None:
    """@param full: the number, from 1, of what there are enough of; 0 for none, and anything for nonsense."""
    if isinstance(full, int) and 0 < full <= len(subjects):
        return subjects[full - 1][0]
    return None


def _ignore(failure: Failure) -> None:
    """A lease that is neither renewed nor given back ends by itself."""
    failure.trap(RedisError)
