"""Threads for calls that block: as many as there are calls, up to a limit, and none that could hold up the end.

Twisted's pool has ten threads for everything, and joins them when the reactor stops: one name server that does not
answer, or one disk, keeps the process for as long as it likes. These are daemons, and nobody waits for them. A thread
lasts while there is something to do, so that there is nothing to stop::

    call() ─► waiting ─► a thread, at most `limit` of them ─► the reactor: the Deferred fires
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import Lock, Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

__all__ = ["Threads"]

_T = TypeVar("_T")

_Job = tuple[Callable[[], Any], Deferred[Any]]


class Threads:
    """
    @param reactor: where results are delivered.
    @param limit: how many calls there may be at a time; others wait in their order.
    @param name: of the threads.
    @param inside: made for each thread, which does all of its work in it.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        limit: int,
        name: str,
        inside: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._reactor = reactor
        self._limit = limit
        self._name = name
        self._inside = inside
        self._lock = Lock()
        self._waiting: deque[_Job] = deque()
        self._running = 0

    def call(self, function: Callable[[], _T]) -> Deferred[_T]:
        """
        @return: fires with what C{function} returns. To cancel it forgets a call that waits; one that runs cannot be
            stopped, and what comes of it is dropped.
        """
        result: Deferred[_T] = Deferred(self._forget)
        with self._lock:
            self._waiting.append((function, result))
            needed = self._running < self._limit
            self._running += needed
        if needed:
            self._start()
        return result

    def _start(self) -> None:
        try:
            Thread(target=self._enter, name=self._name, daemon=True).start()
        except RuntimeError:  # the system has no more; those that run will come to it
            with self._lock:
                self._running -= 1
                stranded = [] if self._running else list(self._waiting)
                if stranded:
                    self._waiting.clear()
            for _, result in stranded:
                result.errback()

    def _forget(self, result: Deferred[Any]) -> None:
        with self._lock:
            self._waiting = deque(job for job in self._waiting if job[1] is not result)

    def _enter(self) -> None:
        """In a thread."""
        with self._inside():
            self._work()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                function, result = self._waiting.popleft()
            outcome: Any
            try:
                outcome = function()
            except BaseException:
                outcome = Failure()
            self._reactor.callFromThread(_deliver, result, outcome)


def _deliver(result: Deferred[Any], outcome: Any) -> None:
    if not result.called:  # not cancelled meanwhile
        result.callback(outcome)
