"""How long a tunnel waits, by what moves meanwhile."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.tunnel.patience import CLOSE_TIMEOUT, STALL_LIMIT, Patience


class PatienceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.patience = Patience(self.clock)
        self.passed = 0

    def start(self) -> None:
        self.patience.start(self._pass)

    def _pass(self) -> None:
        self.passed += 1

    def test_anew(self) -> None:
        """To start it again is to wait from then on."""
        self.start()
        self.clock.advance(CLOSE_TIMEOUT - 1)
        self.start()
        self.clock.advance(CLOSE_TIMEOUT - 1)
        self.assertEqual(self.passed, 0)
        self.clock.advance(1)
        self.assertEqual(self.passed, 1)
        self.start()
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertEqual(self.passed, 2)

    def test_stop(self) -> None:
        """Stopped, it leaves nothing behind."""
        self.start()
        self.patience.stop()
        self.patience.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_moving(self) -> None:
        """It lasts while something moves, and a while when it does not."""
        self.assertTrue(all(self.patience.lasts(left) for left in range(3 * STALL_LIMIT, 0, -1)))
        self.assertEqual([self.patience.lasts(1) for _ in range(STALL_LIMIT)], [True] * (STALL_LIMIT - 1) + [False])

    def test_watch(self) -> None:
        """What has stood still before does not count against what is watched from now on."""
        self.patience.lasts(1)
        self.patience.lasts(1)
        self.patience.limit = 2
        self.patience.watch(7)
        self.assertTrue(self.patience.lasts(7))
        self.assertFalse(self.patience.lasts(7))

    def test_nothing(self) -> None:
        """Where nobody is owed anything there is nothing to wait for."""
        self.assertFalse(self.patience.lasts(0))
