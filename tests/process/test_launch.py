"""What stands above a program, where a real one would hide it. tests/process/test_run.py has the rest."""

from __future__ import annotations

import os
import signal

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.process.launch import _Tree


class GroupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.signals: list[tuple[int, int]] = []
        self.problem: OSError | None = None
        self.patch(os, "killpg", self.killpg)
        woken, wake = os.pipe()
        self.addCleanup(os.close, woken)
        self.addCleanup(os.close, wake)
        self.tree = _Tree((1 << 22) + 1, woken)

    def killpg(self, group: int, number: int) -> None:
        self.signals.append((group, number))
        if self.problem is not None:
            raise self.problem

    def test_empty(self) -> None:
        """A group that was empty once is never signalled again: its number may be somebody else's."""
        self.assertTrue(self.tree._signal(0))
        self.problem = ProcessLookupError()
        self.assertFalse(self.tree._signal(0))
        self.problem = None
        self.signals.clear()
        self.tree.end(5)
        self.assertEqual(self.signals, [])

    def test_notPermitted(self) -> None:
        """A setuid program is there, though it cannot be signalled."""
        self.problem = PermissionError()
        self.assertTrue(self.tree._signal(signal.SIGTERM))
