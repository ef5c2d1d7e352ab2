"""Lua that Redis runs in one piece, where two things must happen at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from wsproxy.cluster.redis import Redis

__all__ = ["NOW", "Script"]

NOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""
"""The time in milliseconds, on the one clock that all nodes share."""


class Script:
    """
    @param text: in Lua, with C{KEYS} and C{ARGV}. It may write after it has read the clock, which takes Redis 5.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def run(self, redis: Redis, keys: Sequence[str], *arguments: str | bytes | int) -> Deferred[Any]:
        """
        As L{Redis.execute}. The whole text is sent: to name it by its hash would save 1 µs, but one that Redis does not
        know yet would be run behind what was asked after it.
        """
        return redis.execute("EVAL", self._text, len(keys), *keys, *arguments)
