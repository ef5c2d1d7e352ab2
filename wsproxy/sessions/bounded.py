"""What comes of somebody else's work: within a time that does not depend on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.fault import logFault

__all__ = ["GivenUp", "bounded", "giveUp"]

T = TypeVar("T")

_log = Logger()


class GivenUp(CancelledError):
    """It was we who cancelled, not somebody behind the Deferred on their own account."""


def giveUp(waiting: Deferred[Any]) -> None:
    """Cancel C{waiting}, whatever its canceller does."""
    try:
        waiting.cancel()
    except BaseException:
        logFault(_log, "cancelling")


def bounded(
    waiting: Deferred[T], seconds: float, clock: IReactorTime, late: Callable[[T], None] | None = None
) -> Deferred[T]:
    """
    What C{waiting} comes to, or L{TimeoutError} after so many seconds. C{addTimeout} cancels, and then waits for who
    was cancelled: a coroutine that catches that and goes on would be waited for forever.

    @param late: takes what C{waiting} comes to when nobody waits for it any longer; by default it is dropped.
    @return: to cancel it gives up at once, with L{GivenUp}.
    """
    outcome: Deferred[T] = Deferred(lambda _: end(GivenUp()))

    def end(error: Exception) -> None:
        if timer.active():
            timer.cancel()
        outcome.errback(error)  # first: nothing that comes of cancelling counts
        giveUp(waiting)

    def settle(result: T | Failure) -> None:
        if not outcome.called:
            timer.cancel()
            outcome.callback(result)  # which takes a failure for one
        elif late is not None and not isinstance(result, Failure):
            late(result)

    timer = clock.callLater(seconds, lambda: end(TimeoutError()))
    waiting.addBoth(settle)
    return outcome
