"""The threads in which plugins are called."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from tests.daemon.test_threads import Deliveries
from wsproxy.errors import Refusal
from wsproxy.plugins.pool import LIMIT, PATIENCE, PluginPool


class Reactor(Clock, Deliveries):
    """Time, and results, when the test wants them."""

    def __init__(self) -> None:
        Clock.__init__(self)
        Deliveries.__init__(self)


class PoolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.pool = PluginPool(self.reactor, "--token-plugin test", 2, 5.0)
        self.gate = threading.Event()
        self.addCleanup(self.gate.set)
        self.began = threading.Semaphore(0)

    def hang(self) -> int:
        self.began.release()
        self.gate.wait(30)
        return 1

    def call(self, function: Callable[[], Any]) -> Any:
        result = self.pool.call(function)
        self.reactor.deliver(1)
        return result

    def refusal(self, result: Any) -> Refusal:
        refusal = self.failureResultOf(result, Refusal).value
        self.assertEqual((refusal.status, refusal.reason), (503, "Service unavailable"))
        return refusal

    def test_promised(self) -> None:
        """A plugin has 32 threads, and 5 seconds."""
        self.assertEqual((LIMIT, PATIENCE), (32, 5.0))

    def test_result(self) -> None:
        """What a plugin answers or raises is what it comes to, and no timer is left."""
        self.assertEqual(self.successResultOf(self.call(lambda: 3)), 3)
        self.failureResultOf(self.call(lambda: {}["x"]), KeyError)  # type: ignore[misc]
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_eventLoop(self) -> None:
        """A thread has an event loop of its own, which old plugins ask for."""

        async def answer() -> int:
            await asyncio.sleep(0)
            return 7

        result = self.call(lambda: asyncio.get_event_loop().run_until_complete(answer()))
        self.assertEqual(self.successResultOf(result), 7)

    def test_overlap(self) -> None:
        """Calls overlap: each of two waits for the other."""
        barrier = threading.Barrier(2, timeout=30)
        results = [self.pool.call(barrier.wait) for _ in range(2)]
        self.reactor.deliver(2)
        self.assertEqual(sorted(map(self.successResultOf, results)), [0, 1])

    def test_hung(self) -> None:
        """A call that takes 5 seconds is answered 503; it is counted, and logged, until it returns."""
        result = self.pool.call(self.hang)
        self.began.acquire()
        self.reactor.advance(4.9)
        self.assertNoResult(result)
        self.reactor.advance(0.1)
        self.assertIn("--token-plugin test: no answer (1 calls hang)", self.refusal(result).cause)
        self.assertEqual(self.pool.hung, 1)
        with capturedLogs() as events:
            self.gate.set()
            self.reactor.deliver(2)  # its result, and that it has returned
        self.assertEqual(self.pool.hung, 0)
        [line] = map(eventAsText, events)
        self.assertIn("--token-plugin test has answered late: 0 calls hang", line)
        self.assertEqual(self.successResultOf(self.call(lambda: 3)), 3)

    def test_allHung(self) -> None:
        """With all threads hung nobody waits any more, until one returns; nor longer, who waits already."""
        hung = [self.pool.call(self.hang) for _ in range(2)]
        for _ in hung:
            self.began.acquire()
        waiting = self.pool.call(lambda: 3)
        self.reactor.advance(5)
        for result in hung:
            self.refusal(result)
        self.assertIn("busy", self.refusal(waiting).cause)
        self.assertIn("none of its calls returns", self.refusal(self.pool.call(lambda: 3)).cause)
        self.gate.set()
        self.reactor.deliver(4)
        self.assertEqual(self.successResultOf(self.call(lambda: 3)), 3)

    def test_cancelled(self) -> None:
        """A client that has left is not counted, whatever becomes of its call."""
        result = self.pool.call(self.hang)
        self.began.acquire()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.reactor.advance(6)
        self.assertEqual((self.pool.hung, self.reactor.getDelayedCalls()), (0, []))
