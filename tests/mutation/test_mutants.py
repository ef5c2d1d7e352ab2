"""The faults that are planted."""

from __future__ import annotations

import ast

from twisted.trial.unittest import SynchronousTestCase

from tests.mutation.__main__ import candidates
from tests.mutation.mutants import mutants, sample

SOURCE = '''"""Head."""
LIMIT = 64


class Gauge:
    def add(self, size: int | None) -> bool:
        """Words, é and all."""
        if size is None or not size:
            return
        self.size = 1
        self.tell(f"{size + 1}")
        return self.size + size < LIMIT
'''


class MutantTests(SynchronousTestCase):
    def test_all(self) -> None:
        """Each is named by where and what it is; annotations and texts are left alone."""
        found = {mutant.key.removeprefix("g.py "): mutant.after for mutant in mutants("g.py", SOURCE)}
        wanted = {
            "- constant 1": "(128)",
            "Gauge.add always 1": "True",
            "Gauge.add never 1": "False",
            "Gauge.add and 1": "(size is None and (not size))",
            "Gauge.add compare 1": "(size is not None)",
            "Gauge.add affirm 1": "(size)",
            "Gauge.add remove 1": "pass",
            "Gauge.add remove 2": "pass",
            "Gauge.add constant 1": "(2)",
            "Gauge.add remove 3": "pass",
            "Gauge.add nothing 1": "return None",
            "Gauge.add compare 2": "(self.size + size <= LIMIT)",
            "Gauge.add arithmetic 1": "(self.size - size)",
        }
        self.assertEqual(found, wanted)

    def test_place(self) -> None:
        """A mutant is the module but for one change, and still Python."""
        for mutant in mutants("g.py", SOURCE):
            ast.parse(mutant.source)
            self.assertEqual(mutant.source.replace(mutant.after, "", 1), SOURCE.replace(mutant.before, "", 1))

    def test_sample(self) -> None:
        """What else there is to choose from does not change a mutant's lot."""
        everything = list(mutants("g.py", SOURCE))
        chosen = sample(everything, 5, 1)
        self.assertEqual(sample(reversed(everything), 5, 1), chosen)
        fewer = [mutant for mutant in everything if mutant.key != chosen[0].key]
        self.assertEqual(sample(fewer, 4, 1), chosen[1:])
        self.assertNotEqual(sample(everything, 5, 2), chosen)

    def test_keys(self) -> None:
        """No two have the same key."""
        keys = [mutant.key for mutant in candidates()]
        self.assertEqual(len(keys), len(set(keys)))
