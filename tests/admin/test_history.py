"""The last hour, in samples."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.admin.history import EVERY, SAMPLES, History
from wsproxy.metrics.counts import Counts


class HistoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.counts = Counts()
        self.history = History()
        self.now = 1000.0

    def sample(self, up: int = 0) -> None:
        self.now += EVERY
        self.history.sample(self.now, self.counts.snapshot(up, 0), 3)

    def last(self) -> dict[str, Any]:
        return {name: each[-1] for name, each in self.history.plain().items() if isinstance(each, list) and each}

    def test_rates(self) -> None:
        """Rates and means are those since the sample before; without a heartbeat there is no round trip."""
        self.sample()
        self.assertEqual(self.history.plain()["times"], [])
        self.counts.refused(403, "Origin not allowed")
        self.sample(up=1000)
        expected = {"times": self.now, "sessions": 3, "rate_up": 100.0, "rate_down": 0.0, "refusals": 0.1}
        self.assertEqual(self.last(), {**expected, "round_trip": None})
        for seconds in (0.1, 0.3):
            self.counts.histograms["round_trip"].add(seconds)
        self.sample(up=1000)
        self.assertEqual(self.last()["round_trip"], 0.2)

    def test_hour(self) -> None:
        """It never grows beyond an hour."""
        for _ in range(SAMPLES + 10):
            self.sample()
        self.assertEqual({len(each) for each in self.history.plain().values() if isinstance(each, list)}, {SAMPLES})

    def test_clock(self) -> None:
        """A clock that is set back makes no rate of it, nor does a count that is missing for a moment."""
        self.sample(up=5000)
        self.now -= 2 * EVERY
        self.sample(up=6000)
        self.assertEqual(self.history.plain()["times"], [])
        self.sample(up=1000)
        self.assertEqual(self.last()["rate_up"], 0.0)
