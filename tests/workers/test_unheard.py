"""Signals that are not for workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from wsproxy.workers.unheard import UNHEARD, held

_CHILD = """
import sys
from wsproxy.workers.unheard import ignore
print("started", flush=True)
sys.stdin.readline()
ignore()
print("ready", flush=True)
sys.stdin.readline()
"""


class UnheardTests(SynchronousTestCase):
    def test_child(self) -> None:
        """They are without effect from the first instruction of a process on, and not only when it is ready."""
        with held():
            child = subprocess.Popen(
                [sys.executable, "-c", _CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self.addCleanup(child.communicate)
        assert child.stdin is not None and child.stdout is not None
        for word in ("started", "ready"):
            for number in UNHEARD:
                child.send_signal(number)
            self.assertEqual(child.stdout.readline().strip(), word)
            for number in UNHEARD:
                child.send_signal(number)
            child.stdin.write("\n")
            child.stdin.flush()
        self.assertEqual(child.wait(), 0)

    def test_mask(self) -> None:
        """What was held back before still is, and nothing else."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        with held():
            self.assertLessEqual(set(UNHEARD), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, ()), before)
