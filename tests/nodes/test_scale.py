"""What docs/scale.rst says of a million sessions is what is simulated, and that follows from what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.scale import Costs, Load, Node, balance, measure, nodes, outages, report, revocations

PAGE = Path(__file__).parents[2] / "docs" / "scale.rst"

LOAD, NODE, COSTS = Load(), Node(), Costs()


class ScaleTests(SynchronousTestCase):
    def test_current(self) -> None:
        """The tables of the page are those that are printed."""
        page = PAGE.read_text()
        for table in report(LOAD, NODE, COSTS).split("\n\n"):
            self.assertIn(table, page)

    def test_second(self) -> None:
        """A million sessions hear within a second of what is revoked, and of a few thousand orders that were missed."""
        for rate in (1, 1000):
            self.assertLess(revocations(20, NODE, COSTS, Random(2), rate).worst, 1)
        self.assertLess(outages(20, COSTS, Random(2), 5000), 1)
        self.assertGreater(outages(20, COSTS, Random(2), 50_000), 1)

    def test_overload(self) -> None:
        """More orders than can be heard of are late: nobody is told that they were not."""
        slow = replace(COSTS, hear=2e-3)
        self.assertGreater(revocations(20, NODE, slow, Random(2), 1000).late, 1)

    def test_nodes(self) -> None:
        """Twice the sessions take twice the nodes, whatever there is not enough of."""
        twice = dict(nodes(replace(LOAD, sessions=2 * LOAD.sessions), NODE, COSTS))
        for what, count in nodes(LOAD, NODE, COSTS):
            self.assertTrue(2 * count - 1 <= twice[what] <= 2 * count, what)

    def test_balance(self) -> None:
        """By token nodes are filled more evenly than by source; what a node has had is all that moves."""
        found = {how: (most, moved) for how, most, moved in balance(replace(LOAD, sessions=20_000), 10, Random(2))}
        source, token = found["source, ``hash-type consistent``"], found["token in the path, ``hash-type consistent``"]
        self.assertGreater(source[0], token[0])
        self.assertLess(token[0], 1.3)
        self.assertEqual((source[1], token[1]), (0, 0))

    def test_measured(self) -> None:
        """What it costs to hear of a revocation can be measured anywhere."""
        self.assertGreater(measure(100).hear, 0)
