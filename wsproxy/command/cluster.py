"""The URL of a cluster's Redis, for commands that ask it something; and how they ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from wsproxy.cluster.cluster import Cluster, checkCluster, joinCluster
from wsproxy.cluster.errors import RedisError
from wsproxy.command.kinds import SECRET
from wsproxy.errors import ConfigError

__all__ = ["URL_HELP", "askCluster"]

URL_HELP = "that of the proxies; @FILE or env:NAME where there is a password in it"

T = TypeVar("T")


def askCluster(word: str, question: Callable[[Cluster], Awaitable[T]]) -> T:
    """
    @param word: what C{--cluster} was given.
    @raise ConfigError: there is no answer.
    """
    url = SECRET.parse("cluster", word) if word.startswith(("@", "env:")) else word
    checkCluster(url)
    outcome: list[T | Exception] = []

    async def ask(reactor: Any) -> None:
        try:
            cluster = joinCluster(reactor, url)
            try:
                outcome.append(await question(cluster))
            finally:
                await cluster.redis.stopService()
        except (RedisError, ConfigError) as error:
            outcome.append(error)

    try:
        react(lambda reactor: Deferred.fromCoroutine(ask(reactor)))
    except SystemExit:  # that of react, whatever has come of it
        if not outcome:
            raise
    (result,) = outcome
    if isinstance(result, Exception):
        raise ConfigError(str(result))
    return result
