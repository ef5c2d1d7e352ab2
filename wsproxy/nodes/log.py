"""The log of revocations in Redis: what is there is read by all nodes, also later, in the order in which it was said.

::

    wsproxy:PREFIX:revocations           a stream: kind, subject, until; the id of an entry is when it was made
    wsproxy:PREFIX:revocations:until     a sorted set: the ids, by until when they are needed

An entry goes when nobody needs it any more: whoever adds one removes those that are over. So does the whole, by its
lifetime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from wsproxy.cluster.cluster import Cluster
from wsproxy.cluster.errors import RedisError
from wsproxy.cluster.script import NOW, Script
from wsproxy.nodes.revocation import Revocation, fromEntry

__all__ = ["BEGINNING", "Page", "RevocationLog", "order"]

BEGINNING = b"0-0"

_AT_ONCE = 1000
"""Entries of one answer: 200 KB."""

_APPEND = Script(
    f"""{NOW}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('XDEL', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
end
local over = math.max(tonumber(ARGV[3]), now + tonumber(ARGV[4]))
local id = redis.call('XADD', KEYS[1], '*', 'kind', ARGV[1], 'subject', ARGV[2], 'until', string.format('%.0f', over))
redis.call('ZADD', KEYS[2], over, id)
local left = math.max(redis.call('PTTL', KEYS[1]), over - now)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, string.format('%.0f', left)) end
return id
"""
)


@dataclass(frozen=True, slots=True)
class Page:
    """
    What was read.

    @ivar cursor: the id of the last entry; what comes after it has not been read.
    @ivar unknown: entries that nobody here understands.
    @ivar full: there may be more of it already.
    """

    cursor: bytes
    revocations: Sequence[Revocation] = ()
    unknown: int = 0
    full: bool = False


class RevocationLog:
    """
    @param cluster: reading may wait for what is to come, and holds up all else that its Redis is asked.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._redis = cluster.redis
        self._stream = cluster.key("revocations")
        self._untils = cluster.key("revocations", "until")

    def append(self, kind: str, subject: str, until: float, atLeast: float) -> Deferred[None]:
        """
        @param until: until when it is needed, in seconds since the epoch.
        @param atLeast: seconds from now that it is, in any case.
        @return: fires when Redis has it: on its disk, with C{appendfsync always}. Fails with L{RedisError} where nobody
            knows that, be it that it has it all the same.
        """
        keys = (self._stream, self._untils)
        added = _APPEND.run(self._redis, keys, kind, subject, int(until * 1000), int(atLeast * 1000))
        return added.addCallback(_checkAdded)

    async def read(self, cursor: bytes, wait: float = 0.0) -> Page:
        """
        @param cursor: where the last page ended, or L{BEGINNING}.
        @param wait: seconds until there is an empty page where nothing comes; less than Redis is given to answer.
        @raise RedisError: there is nothing to be read.
        """
        blocking = ("BLOCK", int(1000 * wait)) if wait else ()
        words = ("XREAD", "COUNT", _AT_ONCE, *blocking, "STREAMS", self._stream, cursor)
        answer = await self._redis.execute(*words)
        if answer is None:
            return Page(cursor)
        try:
            ((_, entries),) = answer
            return _page(entries)
        except (TypeError, ValueError, IndexError):
            raise RedisError("what is in the log of revocations is none") from None

    async def last(self) -> tuple[bytes, float]:
        """
        @return: the id of the newest entry, L{BEGINNING} where there is none; and what time it is, in seconds since the
            epoch, by the clock of Redis.
        @raise RedisError: nobody knows.
        """
        entries = await self._redis.execute("XREVRANGE", self._stream, "+", "-", "COUNT", 1)
        seconds, microseconds = await self._redis.execute("TIME")
        return (entries[0][0] if entries else BEGINNING), int(seconds) + int(microseconds) / 1e6


def _checkAdded(id: Any) -> None:
    if not isinstance(id, bytes):
        raise RedisError("what Redis answers is no id of an entry")


def _page(entries: Sequence[Any]) -> Page:
    revocations, unknown = [], 0
    for id, fields in entries:
        try:
            revocations.append(fromEntry(id, fields))
        except ValueError:
            unknown += 1
    return Page(entries[-1][0], revocations, unknown, len(entries) >= _AT_ONCE)


def order(id: bytes) -> tuple[int, int]:
    """@return: what ids are compared by."""
    milliseconds, _, number = id.partition(b"-")
    return int(milliseconds), int(number)
