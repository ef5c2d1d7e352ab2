"""Draining: so many sessions a second, and until it is undone."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.admin.draining import REASON, Draining
from wsproxy.errors import Close


class Open:
    def __init__(self) -> None:
        self.open = True
        self.closed: Close | None = None

    def close(self, close: Close) -> None:
        self.open, self.closed = False, close


class Registry(list[Open]):
    """The sessions, which remember what new clients are told."""

    reasons: list[str]

    def refuseNew(self, reason: str) -> Any:
        self.reasons = [*getattr(self, "reasons", []), reason]
        return lambda: self.reasons.remove(reason)


class DrainingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sessions: Any = Registry(Open() for _ in range(10))
        self.draining = Draining(self.clock, self.sessions)

    def tearDown(self) -> None:
        self.draining.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def left(self) -> int:
        return sum(session.open for session in self.sessions)

    def test_rate(self) -> None:
        """As many a second as was said, the oldest first, whatever the rate; then nobody is left."""
        self.draining.begin(4.0)
        self.clock.pump([0.11] * 10)
        self.assertEqual([session.open for session in self.sessions], [False] * 4 + [True] * 6)
        self.assertEqual(self.sessions[0].closed, Close(1001, REASON))
        self.clock.advance(1.0)  # this process was busy
        self.assertEqual(self.left(), 2)
        self.clock.pump([0.1] * 10)
        self.assertEqual(self.left(), 0)

    def test_none(self) -> None:
        """Without a rate, sessions stay."""
        self.draining.begin()
        self.clock.pump([0.1] * 50)
        self.assertEqual(self.left(), 10)
        self.assertEqual(self.sessions.reasons, [REASON])

    def test_again(self) -> None:
        """To begin again is to change the rate; to end it once undoes all of it."""
        self.draining.begin(4.0)
        self.draining.begin()
        self.clock.pump([0.1] * 20)
        self.assertEqual(self.left(), 10)
        self.draining.end()
        self.draining.end()
        self.assertEqual((self.sessions.reasons, self.draining.active), ([], False))
