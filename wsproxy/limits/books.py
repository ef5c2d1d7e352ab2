"""Where wrong guesses are counted: here, with a worker's parent, or in the Redis of a cluster.

A guess is counted before its client is told that it was wrong. So it makes no difference how many are made at a time,
or to how many workers and nodes: no more than L{ALLOWED<wsproxy.limits.guesses.ALLOWED>} are answered.
"""

from __future__ import annotations

import secrets
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from wsproxy.cluster.cluster import Cluster
from wsproxy.cluster.errors import RedisError
from wsproxy.cluster.parent import Answers, Asker, Parent
from wsproxy.cluster.script import NOW, Script
from wsproxy.limits.guesses import ALLOWED, WINDOW, Guesses, Verdict

__all__ = ["Book", "ClusterBook", "OwnBook", "ParentBook", "answerGuesses"]


class Book(Protocol):
    """Where guesses are counted. Answers may come later, but come; C{guesses} is what is known at once."""

    @property
    def guesses(self) -> Guesses: ...

    def count(self, client: str) -> Verdict | Deferred[Verdict]:
        """This client has guessed, and was wrong."""

    def check(self, client: str) -> float | Deferred[float]:
        """@return: seconds until this client, who may have guessed right, may guess again; 0 for now."""


class OwnBook:
    """Of a process that is all there is."""

    def __init__(self, guesses: Guesses) -> None:
        self.guesses = guesses

    def count(self, client: str) -> Verdict:
        return self.guesses.count(client)

    def check(self, client: str) -> float:
        return self.guesses.wait(client)


_CHECK = f"""{NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])
local guesses = redis.call('ZRANGE', KEYS[1], -ARGV[2], -ARGV[2], 'WITHSCORES')
"""

_CHECKS = Script(f"{_CHECK}return guesses[2] and guesses[2] + ARGV[1] - now or 0")

_COUNT = Script(
    f"""{_CHECK}
if guesses[2] then return {{0, guesses[2] + ARGV[1] - now}} end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
guesses = redis.call('ZRANGE', KEYS[1], -ARGV[2], -ARGV[2], 'WITHSCORES')
return {{1, guesses[2] and guesses[2] + ARGV[1] - now or 0}}
"""
)


class ClusterBook:
    """
    Of one node: what it knows itself, and what stands in Redis under C{wsproxy:PREFIX:guesses:CLIENT}, the times of its
    last guesses. While that is away the node goes by what it knows itself.
    """

    def __init__(self, guesses: Guesses, cluster: Cluster) -> None:
        self.guesses = guesses
        self._cluster = cluster

    def count(self, client: str) -> Verdict | Deferred[Verdict]:
        own = self.guesses.count(client)
        if not own.told:
            return own
        asked = _COUNT.run(self._cluster.redis, *self._what(client), secrets.token_hex(8))
        return asked.addCallback(self._counted, client, own).addErrback(_instead, own)

    def _counted(self, answer: object, client: str, own: Verdict) -> Verdict:
        if not isinstance(answer, list) or len(answer) != 2:
            return own
        wait = self._block(client, answer[1])
        return Verdict(answer[0] != 0, max(wait, own.wait))

    def check(self, client: str) -> float | Deferred[float]:
        own = self.guesses.wait(client)
        if own:
            return own
        asked = _CHECKS.run(self._cluster.redis, *self._what(client))
        return asked.addCallback(lambda answer: self._block(client, answer)).addErrback(_instead, own)

    def _block(self, client: str, milliseconds: object) -> float:
        wait = milliseconds / 1000 if isinstance(milliseconds, int) and 0 < milliseconds <= 1000 * WINDOW else 0.0
        if wait:
            self.guesses.block(client, wait)
        return wait

    def _what(self, client: str) -> tuple[list[str], int, int]:
        return [self._cluster.key("guesses", client)], int(1000 * WINDOW), ALLOWED


def _instead(failure: Failure, own: Any) -> Any:
    failure.trap(RedisError)
    return own


class ParentBook:
    """
    Of a worker: its parent counts, and says who is blocked. Where it does not answer, the worker counts for itself.

    @param clustered: whether the parent may know more than it has said.
    """

    def __init__(self, guesses: Guesses, parent: Parent, clustered: bool) -> None:
        self.guesses = guesses
        self._parent = parent
        self._clustered = clustered
        parent.hear("guesses.block", guesses.block)

    def count(self, client: str) -> Deferred[Verdict]:
        asked = self._parent.ask("guesses.count", client=client)
        return asked.addCallbacks(lambda answer: Verdict(*answer), self._alone, errbackArgs=(client,))

    def _alone(self, failure: Failure, client: str) -> Verdict:
        if failure.check(CancelledError):
            failure.raiseException()
        return self.guesses.count(client)

    def check(self, client: str) -> float | Deferred[float]:
        own = self.guesses.wait(client)
        if own or not self._clustered:
            return own
        return self._parent.ask("guesses.check", client=client).addErrback(self._unknown)

    def _unknown(self, failure: Failure) -> float:
        if failure.check(CancelledError):
            failure.raiseException()
        return 0.0


def answerGuesses(book: Book, answers: Answers) -> None:
    """The parent's side of L{ParentBook}."""

    def count(asker: Asker, client: str) -> Any:
        verdict = book.count(client)
        return verdict.addCallback(tell, client) if isinstance(verdict, Deferred) else tell(verdict, client)

    def tell(verdict: Verdict, client: str) -> Verdict:
        if verdict.wait:  # first: a worker that is told may be asked again at once
            answers.tellAll("guesses.block", client=client, wait=verdict.wait)
        return verdict

    def check(asker: Asker, client: str) -> Any:
        return book.check(client)

    def started(asker: Asker) -> None:
        for client, wait in book.guesses.blocked():
            asker.tell("guesses.block", client=client, wait=wait)

    answers.answer("guesses.count", count)
    answers.answer("guesses.check", check)
    answers.whenStarted(started)
    answers.keep("guesses", book.guesses.state, lambda state, askers: book.guesses.resume(state))
