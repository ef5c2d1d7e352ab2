"""Sessions as text."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.twistd import ROOT
from wsproxy.command.listing import asTable

SESSION: dict[str, Any] = {
    "id": "0123456789abcdef",
    "client": "192.0.2.7:50412",
    "identity": None,
    "target": "h:5900",
    "age": 61,
    "bytes_up": 1,
    "bytes_down": 2,
    "rate_up": 3,
    "rate_down": 4,
    "queued_up": 0,
    "queued_down": 262144,
    "round_trip": 0.0123,
    "worker": 2,
}


class TableTests(SynchronousTestCase):
    def test_queues(self) -> None:
        """What waits for the target and what waits for the client are told apart, as the document has it."""
        head, row = asTable([SESSION]).split("\n")
        for name, shown in (("QUEUED UP", "0 B"), ("QUEUED DOWN", "262 kB"), ("TRIP", "12.3 ms"), ("WORKER", "2")):
            end = head.index(name) + len(name)
            self.assertTrue(row[:end].endswith(shown), (name, row))
        document = (ROOT / "docs/operations.rst").read_text()
        self.assertIn("QUEUED UP", document)
        self.assertIn("QUEUED DOWN", document)
