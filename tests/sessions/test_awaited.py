"""Answers of plugins that use asyncio, Twisted, or both."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.sessions.approach import Dialling
from wsproxy.sessions.awaited import asked, awaited
from wsproxy.sessions.targetend import TargetEnd

name: ContextVar[str] = ContextVar("name", default="outer")


class AwaitedTests(SynchronousTestCase):
    """As under the asyncio reactor, which runs everything within a loop."""

    def setUp(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.addCleanup(self.loop.close)

    def within(self, answer: Any) -> Deferred[Any]:
        """What comes of an answer that a coroutine of Twisted's awaits in a running loop. C{answer} makes it there."""
        outcome: list[Deferred[Any]] = []

        async def ask() -> Any:
            return await awaited(answer())

        def start() -> None:
            outcome.append(Deferred.fromCoroutine(ask()))
            outcome[0].addBoth(lambda result: (self.loop.stop(), result)[1])

        self.loop.call_soon(start)
        self.loop.call_later(10, self.loop.stop)
        self.loop.run_forever()
        return outcome[0]

    def test_future(self) -> None:
        """A future of asyncio's is awaited for its result, or what it raises."""

        def soon(result: Any) -> Any:
            future = self.loop.create_future()
            settle = future.set_exception if isinstance(result, Exception) else future.set_result
            self.loop.call_soon(settle, result)
            return future

        self.assertEqual(self.successResultOf(self.within(lambda: soon(3))), 3)
        self.failureResultOf(self.within(lambda: soon(KeyError("x"))), KeyError)

    def test_both(self) -> None:
        """A coroutine may wait for futures and Deferreds, in any order, within asyncio's own deadlines."""
        late: Deferred[int] = Deferred()
        self.loop.call_later(0.01, late.callback, 2)

        async def answer() -> Any:
            seen = [await succeed(1)]
            await asyncio.sleep(0)
            async with asyncio.timeout(5):
                seen.append(await late)
            with self.assertRaises(KeyError):
                await fail(KeyError("x"))
            with self.assertRaises(ValueError):
                await later(ValueError())
            with self.assertRaises(TimeoutError):
                await asyncio.wait_for(self.loop.create_future(), 0.001)
            seen.append(await asyncio.gather(asyncio.sleep(0, 3), asyncio.sleep(0.001, 4)))
            return seen

        def later(error: Exception) -> Deferred[Any]:
            failing: Deferred[Any] = Deferred()
            self.loop.call_soon(failing.errback, error)
            return failing

        self.assertEqual(self.successResultOf(self.within(answer)), [1, 2, [3, 4]])

    def test_cancelled(self) -> None:
        """To give up cancels what is waited for, in either world."""
        cancelled: list[object] = []
        waited: Deferred[Any] = Deferred(cancelled.append)
        future: asyncio.Future[Any] = self.loop.create_future()

        async def wait(what: Any) -> Any:
            await what

        def giveUp(asked: Deferred[Any]) -> None:
            asked.cancel()
            self.loop.call_later(0.01, self.loop.stop)  # what follows is the loop's

        for what in (waited, future):
            asked: list[Deferred[Any]] = []

            def start(what: Any = what, asked: list[Deferred[Any]] = asked) -> None:
                coroutine: Coroutine[Any, Any, Any] = wait(what)
                asked.append(awaited(coroutine))  # type: ignore[arg-type]
                asked[0].addErrback(lambda failure: failure.trap(CancelledError, asyncio.CancelledError))
                self.loop.call_later(0.01, giveUp, asked[0])

            self.loop.call_soon(start)
            self.loop.run_forever()
        self.assertEqual((cancelled, future.cancelled()), ([waited], True))

    def test_dialers(self) -> None:
        """A dialer may be a coroutine that waits for asyncio, or answer a future of its connection."""

        def connect(factory: Any) -> Any:
            end = factory.buildProtocol(None)
            end.makeConnection(StringTransport())
            return end

        async def coroutine(session: Any, factory: Any) -> Any:
            await asyncio.sleep(0.001)
            return connect(factory)

        def indirect(session: Any, factory: Any) -> Any:
            return coroutine(session, factory)

        def future(session: Any, factory: Any) -> Any:
            answer = self.loop.create_future()
            self.loop.call_later(0.001, lambda: answer.set_result(connect(factory)))
            return answer

        for dial in (coroutine, indirect, future):
            connected: list[Any] = []
            dialling = Dialling("name", connected.append, self.fail)

            def start(dial: Any = dial, dialling: Dialling = dialling) -> None:
                dialling.start(dial, None, Clock(), 5)  # type: ignore[arg-type]
                self.loop.call_later(0.05, self.loop.stop)

            self.loop.call_soon(start)
            self.loop.run_forever()
            self.assertIsInstance(connected[0], TargetEnd, connected)

    def test_begins(self) -> None:
        """A coroutine runs up to its first wait within the call, as the task that it is afterwards."""
        seen: list[Any] = []

        async def answer() -> Any:
            seen.append(asyncio.current_task())
            name.set("inner")
            await asyncio.sleep(0.001)
            seen.extend((asyncio.current_task(), name.get()))
            return 3

        async def around() -> Any:
            """Called by a task of asyncio's, as an embedder's program is one."""
            before = asyncio.current_task()
            outcome = asked(answer)
            seen.append("returned")
            self.assertIs(asyncio.current_task(), before)
            return await outcome.asFuture(self.loop)

        self.assertEqual(self.loop.run_until_complete(around()), 3)
        first, returned, second, inner = seen
        self.assertEqual((first is second, first is None, returned, inner), (True, False, "returned", "inner"))
        self.assertEqual(name.get(), "outer")

    def test_cancelledAtOnce(self) -> None:
        """To give up before the loop has gone on cancels what the first step waits for."""
        cancelled: list[object] = []
        waited: Deferred[Any] = Deferred(cancelled.append)

        async def wait() -> None:
            await waited

        async def around() -> None:
            outcome = asked(wait)
            outcome.addErrback(lambda failure: failure.trap(CancelledError))
            outcome.cancel()
            await asyncio.sleep(0.01)

        self.loop.run_until_complete(around())
        self.assertEqual(cancelled, [waited])

    def test_raised(self) -> None:
        """What is raised, in the call or before the first wait, is what comes of it."""

        async def coroutine() -> None:
            raise KeyError("x")

        def plain() -> None:
            raise KeyError("x")

        for answer in (coroutine, plain):
            self.failureResultOf(self.within(lambda answer=answer: asked(answer)), KeyError)
            self.failureResultOf(asked(answer), KeyError)

    def test_otherReactors(self) -> None:
        """Where no loop runs, nothing is done to an answer."""

        async def answer() -> int:
            return await succeed(3)

        coroutine = answer()
        self.assertIs(awaited(coroutine), coroutine)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(coroutine)), 3)
