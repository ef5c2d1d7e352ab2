"""Answers that are to be awaited: Twisted's way, and under the asyncio reactor asyncio's.

A coroutine of Twisted's may not wait for asyncio's futures, nor a task of asyncio's for Deferreds. A plugin that uses
libraries of both worlds does both. So where an event loop of asyncio's runs, it is a task, in which a Deferred becomes
a future on the way out::

    task ─► future, sleep(0) ─► the loop
         └► Deferred ─► a future that it wakes ─► the loop

Up to where it waits for the first time it runs at once, as one of Twisted's does: what it is given may be there for as
long as the call takes (L{Session.request<wsproxy.interfaces.Session>}).
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

__all__ = ["asked", "awaited"]

T = TypeVar("T")


def awaited(answer: Awaitable[T]) -> Awaitable[T]:
    """@return: C{answer}, as a coroutine of Twisted's can await it."""
    if isinstance(answer, Deferred):
        return answer
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # another reactor
        return answer
    return _outcome(_begin(_asCoroutine(answer), loop), loop)


def asked(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    """@return: what comes of a call of C{function}, however that answers: a value, an awaitable, an exception."""
    try:
        answer = function(*arguments)
        if not isinstance(answer, Deferred) and hasattr(answer, "__await__"):
            answer = awaited(answer)
    except BaseException:
        return fail(Failure())
    if isinstance(answer, Deferred):
        return answer
    return Deferred.fromCoroutine(_asCoroutine(answer)) if hasattr(answer, "__await__") else succeed(answer)


def _begin(steps: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> asyncio.Task[T]:
    """
    Take the first step now, as part of the task that takes the others: the C{eager_start} of Python 3.12, by what
    asyncio has for tasks of other makes ("Extending", in its documentation).
    """
    first: list[Callable[[], Any]] = []

    async def follow() -> T:
        result: T = await _translated(steps, loop, first[0])
        return result

    context = copy_context()
    task = asyncio.Task(follow(), loop=loop, context=context)
    outer = asyncio.current_task(loop)
    if outer is not None:
        asyncio.tasks._leave_task(loop, outer)
    asyncio.tasks._enter_task(loop, task)
    try:
        first.append(_known(context.run, steps.send, None))
    finally:
        asyncio.tasks._leave_task(loop, task)
        if outer is not None:
            asyncio.tasks._enter_task(loop, outer)
    return task


def _outcome(task: asyncio.Task[T], loop: asyncio.AbstractEventLoop) -> Deferred[T]:
    def cancel(_: Deferred[T]) -> None:
        loop.call_soon(task.cancel)  # when it has gone on from its first step: it gives up what that waits for

    outcome: Deferred[T] = Deferred(cancel)

    def settle(task: asyncio.Task[T]) -> None:
        try:
            result: T | Failure = task.result()
        except BaseException:
            result = Failure()
        if not outcome.called:
            outcome.callback(result)  # which takes a failure for one

    task.add_done_callback(settle)
    return outcome


def _known(call: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """@return: answers, or raises, what this call does now."""
    try:
        answer = call(*arguments)
    except BaseException as error:
        problem = error

        def again() -> Any:
            raise problem

        return again
    return lambda: answer


async def _asCoroutine(answer: Awaitable[T]) -> T:
    return await answer


@types.coroutine
def _translated(
    steps: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, step: Callable[[], Any]
) -> Generator[Any, Any, T]:
    """@param step: the first one."""
    while True:
        try:
            waited = step()
        except StopIteration as end:
            result: T = end.value
            return result
        try:
            given = yield from _until(waited, loop) if isinstance(waited, Deferred) else _passed(waited)
            step = partial(steps.send, given)
        except BaseException as error:  # its cancellation, too
            step = partial(steps.throw, error)


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
