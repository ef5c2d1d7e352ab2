"""Where a program listens, as another process knows it."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.process.listeners import Listeners, ListenersElsewhere


class ElsewhereTests(SynchronousTestCase):
    """Those of a supervisor, and their likeness in a worker that hears of each change."""

    def setUp(self) -> None:
        self.reports: list[tuple[Any, ...]] = []
        self.here = Listeners()
        self.there = ListenersElsewhere(lambda verb, **fields: self.reports.append((verb, *fields.values())))
        self.here.changed = self.tell

    def tell(self) -> None:
        self.there.become(json.loads(json.dumps(self.here.state())))

    def test_follows(self) -> None:
        """Whether it runs, and where it listens, is the same in both."""
        self.here.running = True
        self.here.add(80, "127.0.0.1:1")
        self.here.add(80, "[::1]:2")
        self.assertEqual((self.there.running, self.there.at(80)), (True, ("[::1]:2", "127.0.0.1:1")))
        self.here.discard(80, "[::1]:2")
        self.assertEqual(self.there.at(80), ("127.0.0.1:1",))
        self.here.clear()
        self.here.running = False
        self.assertEqual((self.there.running, bool(self.there)), (False, False))

    def test_wakes(self) -> None:
        """Those who wait learn of an address, not of any other change."""
        waiting = self.there.added()
        self.here.running = True
        self.here.clear()
        self.assertNoResult(waiting)
        self.here.add(80, "127.0.0.1:1")
        self.successResultOf(waiting)

    def test_served(self) -> None:
        """That a client has reached it is told once for each start."""
        self.there.served = True
        self.there.served = True
        self.assertEqual(self.reports, [("served",)])
        self.here.served = True
        self.here.served = False  # started again
        self.there.served = True
        self.assertEqual(self.reports, [("served",)] * 2)

    def test_gone(self) -> None:
        """That nobody listens at an address is told, with the state that it was true of; once."""
        self.here.add(80, "127.0.0.1:1")
        self.there.discard(80, "127.0.0.1:1")
        self.there.discard(80, "127.0.0.1:1")
        self.assertEqual(self.there.at(80), ())
        self.assertEqual(self.reports, [("gone", self.here.generation, 80, "127.0.0.1:1")])
