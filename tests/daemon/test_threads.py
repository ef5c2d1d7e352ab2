"""Threads that nobody has to wait for."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.daemon.threads import Threads


class Deliveries:
    """Stands in for a reactor: what threads deliver waits for the test to take it."""

    def __init__(self) -> None:
        self._calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._arrived = threading.Condition()

    def callFromThread(self, function: Callable[..., Any], *arguments: Any) -> None:
        with self._arrived:
            self._calls.append((function, arguments))
            self._arrived.notify_all()

    def deliver(self, count: int) -> None:
        """Wait for so many results, and deliver them."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self._calls) >= count, 30), self._calls
            calls, self._calls = self._calls, []
        for function, arguments in calls:
            function(*arguments)


class ThreadsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Deliveries()
        self.threads = Threads(self.reactor, 2, "test-threads")  # type: ignore[arg-type]
        self.gate = threading.Event()
        self.addCleanup(self.gate.set)

    def running(self) -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "test-threads"]

    def wait(self, value: int) -> Callable[[], int]:
        """A call that blocks until the gate is opened."""

        def call() -> int:
            self.gate.wait(30)
            return value

        return call

    def test_result(self) -> None:
        """What a call returns or raises is delivered in the reactor's thread; then no thread is left."""
        good, bad = self.threads.call(lambda: threading.current_thread().name), self.threads.call(lambda: 1 // 0)
        self.reactor.deliver(2)
        self.assertEqual(self.successResultOf(good), "test-threads")
        self.failureResultOf(bad, ZeroDivisionError)
        for thread in self.running():
            thread.join(30)
        self.assertEqual(self.running(), [])

    def test_limit(self) -> None:
        """Calls beyond the limit wait in their order, and need no further thread."""
        calls = [self.threads.call(self.wait(number)) for number in range(5)]
        self.assertEqual(len(self.running()), 2)
        self.gate.set()
        self.reactor.deliver(5)
        self.assertEqual([self.successResultOf(call) for call in calls], [0, 1, 2, 3, 4])

    def test_cancel(self) -> None:
        """A call that waits can be forgotten; one that runs goes on, and what it returns is dropped."""
        made: list[int] = []
        running = [self.threads.call(self.wait(number)) for number in range(2)]
        waiting = self.threads.call(lambda: made.append(1))
        for call in (running[0], waiting):
            call.cancel()
            self.failureResultOf(call, CancelledError)
        self.gate.set()
        self.reactor.deliver(2)
        self.assertEqual((self.successResultOf(running[1]), made), (1, []))

    def test_noThread(self) -> None:
        """Where the system has no thread for the first call it fails; later ones leave it to those that run."""

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with patch.object(threading.Thread, "start", refuse):
            self.failureResultOf(self.threads.call(lambda: 1), RuntimeError)
        first = self.threads.call(self.wait(1))
        with patch.object(threading.Thread, "start", refuse):
            second = self.threads.call(self.wait(2))
        self.gate.set()
        self.reactor.deliver(2)
        self.assertEqual([self.successResultOf(call) for call in (first, second)], [1, 2])

    def test_exit(self) -> None:
        """A process ends while calls run, however long they would."""
        program = (
            "import threading\n"
            "from twisted.internet import reactor\n"
            "from wsproxy.daemon.threads import Threads\n"
            "def hang():\n"
            "    reactor.callFromThread(reactor.stop)\n"
            "    threading.Event().wait()\n"
            "Threads(reactor, 1, 'hangs').call(hang)\n"
            "reactor.run()\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
