"""Answers that are to be awaited: Twisted's way, and under the asyncio reactor asyncio's.

A coroutine of Twisted's may not wait for asyncio's futures, nor a task of asyncio's for Deferreds. A plugin that uses
libraries of both worlds does both. So where an event loop of asyncio's runs, it is a task, in which a Deferred becomes
a future on the way out::

    task ─► future, sleep(0) ─► the loop
         └► Deferred ─► a future that it wakes ─► the loop
"""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

__all__ = ["awaited", "awaiting"]

T = TypeVar("T")


def awaited(answer: Awaitable[T]) -> Awaitable[T]:
    """@return: C{answer}, as a coroutine of Twisted's can await it."""
    if isinstance(answer, Deferred):
        return answer
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # another reactor
        return answer
    return Deferred.fromFuture(loop.create_task(_asTask(answer, loop)))


def awaiting(function: Callable[..., Any]) -> Callable[..., Any]:
    """@return: C{function}; of one that makes coroutines, what L{awaited} makes of those."""
    if not inspect.iscoroutinefunction(function):
        return function
    return lambda *arguments: awaited(function(*arguments))


async def _asTask(answer: Awaitable[T], loop: asyncio.AbstractEventLoop) -> T:
    result: T = await _translated(_asCoroutine(answer), loop)
    return result


async def _asCoroutine(answer: Awaitable[T]) -> T:
    return await answer


@types.coroutine
def _translated(steps: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> Generator[Any, Any, T]:
    step: Any = steps.send
    given: Any = None
    while True:
        try:
            waited = step(given)
        except StopIteration as end:
            result: T = end.value
            return result
        try:
            given = yield from _until(waited, loop) if isinstance(waited, Deferred) else _passed(waited)
            step = steps.send
        except BaseException as error:  # its cancellation, too
            given, step = error, steps.throw


def _passed(waited: Any) -> Generator[Any, Any, Any]:
    return (yield waited)


def _until(deferred: Deferred[Any], loop: asyncio.AbstractEventLoop) -> Generator[Any, Any, None]:
    """Wait for it; its result stays for whoever awaits it."""
    woken: asyncio.Future[None] = loop.create_future()

    def wake(result: Any) -> Any:
        if not woken.done():
            woken.set_result(None)
        return result

    deferred.addBoth(wake)
    try:
        yield from woken
    except asyncio.CancelledError:
        deferred.cancel()
        deferred.addErrback(lambda _: None)  # nobody asks any more
        raise
