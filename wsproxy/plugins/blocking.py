"""A class of the original's contract: its calls block, so each is made in a thread; what it raises is told here.

What it raises may hold what it was asked about, as C{KeyError} holds the key that a dict lacks. That is a token or a
password, which no log is to show: so its traceback is logged without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.access.redaction import discreet
from wsproxy.errors import Refusal
from wsproxy.fault import tellLog
from wsproxy.plugins.pool import PluginPool

__all__ = ["BlockingPlugin"]

_T = TypeVar("_T")


class BlockingPlugin:
    """
    @param name: for the log: option and class.
    """

    _log = Logger()

    def __init__(self, name: str, reactor: Any) -> None:
        self._name = name
        self._pool = PluginPool(reactor, name)

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
        tellLog(self._log.critical, "{name} raised\n{trace}", name=self._name, trace=failure.getTraceback())
        kind = getattr(failure.type, "__name__", "an exception")
        return Refusal(503, "Service unavailable", cause=f"{self._name} raised {kind}")
