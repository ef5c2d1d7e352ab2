"""Streams that are closed from the start."""

from __future__ import annotations

import sys
from subprocess import run

from twisted.trial.unittest import SynchronousTestCase

PROBE = """
import os, sys
from wsproxy.daemon.standard import fillStandard
closed = sorted(fillStandard())
print("to stderr", file=sys.stderr)
print("to stdout")
taken = os.open(os.devnull, os.O_RDONLY)
again = sorted(fillStandard())
sys.stdout.flush()
sys.exit(0 if taken > 2 and closed == again == CLOSED else 3)
"""


class StandardTests(SynchronousTestCase):
    def test_closed(self) -> None:
        """What is said to a closed stream reaches no other one, and its number is nobody else's."""
        for redirections, closed, out, err in (
            ("", [], b"to stdout\n", b"to stderr\n"),
            ("2>&-", [2], b"to stdout\n", b""),
            (">&-", [1], b"", b"to stderr\n"),
            ("<&- 2>&-", [0, 2], b"to stdout\n", b""),
            ("<&- >&- 2>&-", [0, 1, 2], b"", b""),
        ):
            with self.subTest(redirections=redirections):
                command = f'exec "$0" -c "$1" {redirections}'
                probe = PROBE.replace("CLOSED", str(closed))
                done = run(["sh", "-c", command, sys.executable, probe], capture_output=True, timeout=20, check=False)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, out, err))
