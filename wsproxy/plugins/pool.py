"""Where plugins that block are called: threads of each plugin's own, and no longer waited for than a client would.

::

    call() ─► at most LIMIT threads ─┬─► its result, or what it raised
                                     └─► PATIENCE is over ─► 503; the thread hangs until the call returns, if ever

Calls overlap. Each thread has an event loop set, which plugins ask for with C{asyncio.get_event_loop}. The threads are
daemons: no hung one keeps the process from ending. A plugin of which all threads hang is not asked any more until one
comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsproxy.daemon.threads import Threads
from wsproxy.errors import Refusal
from wsproxy.fault import tellLog

__all__ = ["LIMIT", "PATIENCE", "PluginPool"]

LIMIT = 32
"""Calls of one plugin at a time; others wait, and their time runs."""

PATIENCE = 5.0
"""Seconds that a call may take, its waiting for a thread included."""

_T = TypeVar("_T")


class PluginPool:
    """
    @param reactor: for time, and where results are delivered.
    @param name: of the plugin, for the log.
    """

    _log = Logger()

    def __init__(self, reactor: Any, name: str, limit: int = LIMIT, patience: float = PATIENCE) -> None:
        self._reactor = reactor
        self._name = name
        self._limit = limit
        self._patience = patience
        self._threads = Threads(reactor, limit, f"plugin {name}", _eventLoop)
        self._lock = Lock()
        self._hung = 0

    @property
    def hung(self) -> int:
        """Calls that nobody waits for any more, and that have not returned."""
        return self._hung

    def call(self, function: Callable[[], _T]) -> Deferred[_T]:
        """
        @return: fires with what C{function} returns, or fails with what it raises; with L{Refusal}, a 503, where that
            takes too long. To cancel it forgets the call, but cannot stop it.
        """
        if self._hung >= self._limit:
            return fail(self._late("none of its calls returns"))
        call = _Call(function, self._lock)
        waiting: Deferred[_T] = self._threads.call(lambda: self._run(call))
        waiting.addTimeout(self._patience, self._reactor, lambda result, _: self._giveUp(call, result))
        return waiting

    def _run(self, call: _Call) -> Any:
        """In a thread."""
        try:
            return call.run()
        finally:
            if call.end():
                self._reactor.callFromThread(self._return)

    def _giveUp(self, call: _Call, result: Any) -> Failure:
        if not call.abandon():
            return Failure(self._late("all of its threads were busy"))
        self._hung += 1
        tellLog(
            self._log.error,
            "{name} has not answered within {seconds:g} s: {hung} of at most {limit} calls hang",
            name=self._name,
            seconds=self._patience,
            hung=self._hung,
            limit=self._limit,
        )
        return Failure(self._late("no answer"))

    def _return(self) -> None:
        self._hung -= 1
        tellLog(self._log.info, "{name} has answered late: {hung} calls hang", name=self._name, hung=self._hung)

    def _late(self, why: str) -> Refusal:
        return Refusal(503, "Service unavailable", cause=f"{self._name}: {why} ({self._hung} calls hang)")


class _Call:
    """What is called, and whether it runs, for two threads that want to know."""

    def __init__(self, function: Callable[[], Any], lock: Lock) -> None:
        self._function = function
        self._lock = lock
        self._running = False
        self._abandoned = False

    def run(self) -> Any:
        with self._lock:
            self._running = True
        return self._function()

    def end(self) -> bool:
        """@return: whether it was given up before."""
        with self._lock:
            self._running = False
            return self._abandoned

    def abandon(self) -> bool:
        """@return: whether it runs, and so hangs."""
        with self._lock:
            self._abandoned = self._running
            return self._running


@contextmanager
def _eventLoop() -> Iterator[None]:
    try:
        loop = asyncio.new_event_loop()
    except OSError:  # it takes three descriptors; most plugins do without
        yield
        return
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()
