"""How long is waited before what has ended is started again."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.daemon.backoff import Backoff


class BackoffTests(SynchronousTestCase):
    def test_doubles(self) -> None:
        """From a second, twice as long each time, to half a minute and no longer."""
        backoff = Backoff()
        self.assertEqual([backoff.delay(False) for _ in range(8)], [1, 2, 4, 8, 16, 30, 30, 30])

    def test_well(self) -> None:
        """What was well is started again after a second, and the next wait is twice that."""
        backoff = Backoff()
        delays = [backoff.delay(well) for well in (False, False, False, True, False, True, True)]
        self.assertEqual(delays, [1, 2, 4, 1, 2, 1, 1])
