"""A class of the original's contract: its calls block, so each is made in a thread; what it raises is told here.

What it raises may hold what it was asked about, as C{KeyError} holds the key that a dict lacks. That is a token or a
password, which no log is to show: so its traceback is logged without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.access.redaction import discreet
from wsproxy.errors import Refusal
from wsproxy.fault import tellLog
from wsproxy.plugins.pool import PluginPool

__all__ = ["BlockingPlugin", "finished"]

_T = TypeVar("_T")

_AGAIN = 60.0
"""Seconds until the same mistake has another traceback. The line of the refusal has limits of its own."""


class BlockingPlugin:
    """
    @param name: for the log: option and class.
    """

    _log = Logger()

    def __init__(self, name: str, reactor: Any) -> None:
        self._name = name
        self._reactor = reactor
        self._pool = PluginPool(reactor, name)
        self._told: dict[tuple[Any, ...], float] = {}

    def call(
        self, function: Callable[[], _T], secrets: Callable[[], Sequence[str]], refusal: Callable[[Any], Refusal | None]
    ) -> Deferred[_T]:
        """
        @param secrets: tells what is left out of the traceback.
        @param refusal: what an exception means for the client; L{None} for one that is a mistake.
        @return: fires with what C{function} returns; fails with L{Refusal}, a 503 for a mistake.
        """

        def failed(failure: Failure) -> Failure:
            if failure.check(Refusal, CancelledError):
                return failure
            return Failure(refusal(failure.value) or self._mistake(discreet(failure, *secrets())))

        return self._pool.call(function).addErrback(failed)

    def _mistake(self, failure: Failure) -> Refusal:
        kind = getattr(failure.type, "__name__", "an exception")
        if self._isNews(kind, failure):
            tellLog(self._log.critical, "{name} raised\n{trace}", name=self._name, trace=failure.getTraceback())
        return Refusal(503, "Service unavailable", cause=f"{self._name} raised {kind}")

    def _isNews(self, kind: str, failure: Failure) -> bool:
        """Whether this was not told within L{_AGAIN}: strangers find out what makes a class raise."""
        now = self._reactor.seconds()
        self._told = {place: when for place, when in self._told.items() if when > now - _AGAIN}
        place = (kind, *failure.frames[-1][:3]) if failure.frames else (kind,)
        if place in self._told:
            return False
        self._told[place] = now
        return True


def finished(answer: Any) -> Any:
    """In a thread. A coroutine is none of that contract, but to take it for an answer would be to let everybody in."""
    return asyncio.get_event_loop().run_until_complete(answer) if hasattr(answer, "__await__") else answer
