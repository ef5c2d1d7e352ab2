"""What the garbage collector passes over."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.daemon.garbage import passOverStart


class GarbageTests(SynchronousTestCase):
    def test_freezes(self) -> None:
        """What is there when the reactor runs is not looked at again; before that nothing changes."""

        class Reactor:
            calls: list[Callable[[], object]] = []
            callWhenRunning = calls.append

        reactor: Any = Reactor()
        before = gc.get_freeze_count()
        passOverStart(reactor)
        self.assertEqual(gc.get_freeze_count(), before)
        self.addCleanup(gc.unfreeze)
        reactor.calls.pop()()
        self.assertGreater(gc.get_freeze_count(), before)
