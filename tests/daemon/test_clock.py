"""Time that nobody can set."""

from __future__ import annotations

import time

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.daemon.clock import useMonotonic


class MonotonicTests(SynchronousTestCase):
    def test_setBack(self) -> None:
        """A timer of a reactor is due when its time is over, though the clock was set back meanwhile, or forward."""
        for make in (SelectReactor, EPollReactor):
            for step in (-7200.0, 7200.0):
                reactor = make()
                useMonotonic(reactor)
                due: list[str] = []
                reactor.callLater(0, due.append, "at once")
                reactor.callLater(3600, due.append, "later")
                now = time.time()
                with self.subTest(make.__name__):
                    patch = self.patch(time, "time", lambda now=now, step=step: now + step)
                    reactor.runUntilCurrent()
                    patch.restore()
                self.assertEqual(due, ["at once"])
                timeout = reactor.timeout()
                assert timeout is not None
                self.assertTrue(3590 < timeout <= 3600, timeout)

    def test_tooLate(self) -> None:
        """Where something is scheduled already the reactor keeps its clock."""
        reactor = SelectReactor()
        reactor.callLater(10, lambda: None)
        useMonotonic(reactor)
        timeout = reactor.timeout()
        assert timeout is not None
        self.assertTrue(0 < timeout <= 10, timeout)
