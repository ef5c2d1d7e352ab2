"""When a worker says what it has counted."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.admin.crew import COUNTS
from wsproxy.admin.reporting import EVERY, WITHIN, Reporting
from wsproxy.metrics.counts import Counts


class Reactor(Clock):
    def addSystemEventTrigger(self, phase: str, event: str, function: Any) -> None:
        self.last = function


class Parent:
    """One that may not read."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.isBehind = False

    def tell(self, verb: str, /, **fields: Any) -> None:
        self.told.append((verb, fields["counts"]))


class Desk:
    busy = False

    def __init__(self) -> None:
        self.counts = Counts()
        self.snapshot = self.counts.snapshot


class ReportingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor, self.parent, self.desk = Reactor(), Parent(), Desk()
        parts: Any = (self.reactor, self.desk, self.parent)
        self.reporting = Reporting(*parts)

    def test_changed(self) -> None:
        """A quarter of a second later, once for all that has changed meanwhile; and as it ends."""
        for _ in range(3):
            self.desk.counts.refused(403, "x")
        self.assertEqual(self.parent.told, [])
        self.reactor.advance(WITHIN)
        self.assertEqual(self.parent.told, [(COUNTS, self.desk.snapshot())])
        self.reactor.last()
        self.assertEqual(len(self.parent.told), 2)

    def test_behind(self) -> None:
        """A parent that reads nothing is told nothing, so that nothing piles up; it hears all of it when it does."""
        self.parent.isBehind = True
        for _ in range(100):
            self.desk.counts.refused(403, "x")
            self.reactor.advance(WITHIN)
        self.assertEqual(self.parent.told, [])
        self.parent.isBehind = False
        self.reactor.advance(EVERY)
        self.assertEqual(self.parent.told, [(COUNTS, self.desk.snapshot())])
