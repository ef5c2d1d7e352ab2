"""The deadline of a connection's stage."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.frontend.deadline import Deadline


class DeadlineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[float] = []
        self.deadline = Deadline(self.clock, lambda: self.expired.append(self.clock.seconds()))

    def test_expires(self) -> None:
        """It expires once, that long after the start."""
        self.deadline.start(10)
        self.clock.pump([1.0] * 30)
        self.assertEqual(self.expired, [10])

    def test_restart(self) -> None:
        """The next stage has its own time, whatever was left of the last one."""
        self.deadline.start(10)
        self.clock.advance(9)
        self.deadline.start(2)
        self.clock.pump([1.0] * 30)
        self.assertEqual(self.expired, [11])

    def test_cancel(self) -> None:
        """A stage that has ended does not expire; there is no harm in ending it twice, or none."""
        self.deadline.cancel()
        self.deadline.start(10)
        self.deadline.cancel()
        self.deadline.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_again(self) -> None:
        """A stage can begin after another was ended, or expired."""
        self.deadline.start(1)
        self.deadline.cancel()
        self.deadline.start(2)
        self.clock.advance(2)
        self.deadline.cancel()
        self.deadline.start(3)
        self.clock.advance(3)
        self.assertEqual(self.expired, [2, 5])

    def test_close(self) -> None:
        """With the connection every stage is over: none begins any more."""
        self.deadline.start(1)
        self.deadline.close()
        self.deadline.start(1)
        self.deadline.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
