"""Open sessions that are looked at now and then."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.metrics.histogram import BOUNDS, Histogram
from wsproxy.metrics.sampling import EVERY, TICK, Sampling
from wsproxy.tunnel.relay import Traffic


class Watched:
    """A session whose traffic a test says."""

    def __init__(self, id: str, fails: bool = False) -> None:
        self.id = id
        self.now = Traffic()
        self.looks = 0
        self.fails = fails

    @property
    def traffic(self) -> Traffic:
        self.looks += 1
        if self.fails:
            raise ValueError("an embedder's transport")
        return self.now


class SamplingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.histograms = {name: Histogram(bounds) for name, bounds in BOUNDS.items()}
        self.sampling = Sampling(self.clock, self.histograms)

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def open(self, id: str = "a", **more: Any) -> Watched:
        session: Any = Watched(id, **more)
        self.sampling.opened(session)
        self.addCleanup(self.clock.getDelayedCalls().clear)
        return session  # type: ignore[no-any-return]  # it is one

    def close(self, *sessions: Any) -> None:
        for session in sessions:
            self.sampling.closed(session, None)  # type: ignore[arg-type]  # it is of no interest

    def second(self) -> None:
        self.clock.pump([TICK] * round(EVERY / TICK))

    def values(self, name: str) -> tuple[int, float]:
        plain = self.histograms[name].plain()
        return sum(plain["counts"]), plain["sum"]

    def test_rates(self) -> None:
        """A rate is that of the last second; of a session that is over there is none."""
        session = self.open()
        session.now = Traffic(up=1000, down=50)
        self.second()
        self.assertEqual(self.sampling.rates("a"), (1000.0, 50.0))
        self.assertEqual(self.sampling.carried(), (1000, 50))
        self.second()
        self.assertEqual(self.sampling.rates("a"), (0.0, 0.0))
        self.close(session)
        self.assertEqual(self.sampling.rates("a"), (0.0, 0.0))

    def test_once(self) -> None:
        """Each session is looked at once a second, and not all of them at the same moment."""
        sessions = []
        for number in range(8):
            sessions.append(self.open(str(number)))
            if number % 2:
                self.clock.advance(TICK)
        before = [session.looks for session in sessions]
        self.clock.advance(TICK)
        self.assertLess(sum(session.looks for session in sessions) - sum(before), 8)
        self.clock.pump([TICK] * 3)
        self.assertEqual([session.looks - seen for session, seen in zip(sessions, before, strict=True)], [1] * 8)
        self.close(*sessions)

    def test_waiting(self) -> None:
        """What waits does so for as long as it takes to leave at the rate of the moment."""
        session = self.open()
        session.now = Traffic(down=10_000, queuedDown=5_000)
        self.second()
        self.assertEqual(self.values("waiting_down"), (1, 0.5))
        self.assertEqual(self.values("waiting_up"), (0, 0.0))  # nothing was said that way
        self.close(session)

    def test_stuck(self) -> None:
        """Where nothing leaves, it waits for as long as that has been so."""
        session = self.open()
        session.now = Traffic(up=10, queuedUp=10)
        self.second()
        for _ in range(3):
            self.second()
        count, total = self.values("waiting_up")
        self.assertEqual(count, 4)
        self.assertAlmostEqual(total, 1 + 1 + 2 + 3)
        self.close(session)

    def test_silent(self) -> None:
        """A session that carries nothing says nothing of how long bytes wait."""
        session = self.open()
        self.second()
        self.assertEqual(self.values("waiting_up"), (0, 0.0))
        self.close(session)

    def test_roundTrips(self) -> None:
        """Each answered heartbeat is counted once."""
        session = self.open()
        session.now = Traffic(roundTrip=0.25, answers=1)
        self.second()
        self.second()
        self.assertEqual(self.values("round_trip"), (1, 0.25))
        self.close(session)

    def test_late(self) -> None:
        """A process that was busy comes late, which is what everybody's bytes have waited for."""
        session = self.open()
        self.clock.advance(TICK)
        self.clock.advance(TICK + 0.1)
        self.clock.advance(TICK - 0.1)  # on the beat again
        count, total = self.values("delay")
        self.assertEqual(count, 3)
        self.assertAlmostEqual(total, 0.1)
        self.close(session)

    def test_faults(self) -> None:
        """A session that raises is logged; the others are looked at all the same."""
        broken, session = self.open("a", fails=True), self.open("b")
        self.second()
        self.assertEqual((broken.looks, session.looks), (1, 1))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.close(broken, session)
