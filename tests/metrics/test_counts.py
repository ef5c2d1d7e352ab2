"""What is counted, and how several processes' counts add up."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.twistd import ROOT
from wsproxy.errors import Close
from wsproxy.interfaces import Ending
from wsproxy.metrics.counts import RESULTS, Counts, added, nothing, resultOf
from wsproxy.metrics.histogram import Histogram
from wsproxy.metrics.ledger import Ledger
from wsproxy.metrics.reasons import REASONS, reasonOf


def ending(by: str, code: int, **more: Any) -> Ending:
    return Ending(by, Close(code, ""), "", more.get("seconds", 1.0), more.get("up", 0), more.get("down", 0))


class HistogramTests(SynchronousTestCase):
    def test_bounds(self) -> None:
        """A bound belongs to what is below it, as Prometheus has it (le); what is beyond the last is counted, too."""
        histogram = Histogram((1, 2))
        for value in (0.5, 1, 1.5, 2, 7):
            histogram.add(value)
        self.assertEqual(histogram.plain(), {"counts": [2, 2, 1], "sum": 12.0})


class ReasonTests(SynchronousTestCase):
    @given(st.integers(-1, 999), st.text())
    def test_fixed(self, status: int, words: str) -> None:
        """Whatever a plugin or a stranger says, the reason is one of a fixed list."""
        self.assertIn(reasonOf(status, words), REASONS)

    def test_ours(self) -> None:
        """Of what is said in HTTP here, nothing is for other reasons than those that are known."""
        said = re.compile(r'Refusal\(\s*([1-5]\d\d),\s*"([^"]+)"')
        found = [
            (int(status), words)
            for path in (ROOT / "wsproxy").rglob("*.py")
            for status, words in said.findall(path.read_text(encoding="utf-8"))
        ]
        self.assertGreater(len(found), 30)
        other = [(status, words) for status, words in found if status >= 400 and reasonOf(status, words) == "other"]
        self.assertEqual(other, [(500, "Internal error")])

    def test_kinds(self) -> None:
        """What operators look for is told apart."""
        for status, words, reason in (
            (403, "Origin not allowed", "origin"),
            (401, "whatever a plugin says", "credentials"),
            (403, "Token not accepted", "token"),
            (429, "Too many failed attempts", "throttled"),
            (503, "Too many sessions", "limit"),
            (429, "Too many sessions of this user", "limit"),
            (503, "Draining", "draining"),
            (503, "Service unavailable", "unavailable"),
            (0, "TLS handshake failed: no shared cipher", "tls"),
        ):
            self.assertEqual(reasonOf(status, words), reason, words)


class CountsTests(SynchronousTestCase):
    def test_results(self) -> None:
        """A session is completed, closed by us, failed, lost, or never had a target."""
        for by, code, reached, result in (
            ("client", 1000, True, "completed"),
            ("client", 1001, True, "completed"),
            ("client", 3999, True, "completed"),
            ("target", 1000, True, "completed"),
            ("proxy", 1001, True, "closed"),
            ("proxy", 4001, True, "closed"),
            ("client", 1006, True, "lost"),
            ("proxy", 4002, True, "lost"),
            ("target", 1011, True, "lost"),
            ("target", 1011, False, "unreachable"),
            ("proxy", 1002, True, "failed"),
        ):
            self.assertEqual(resultOf(ending(by, code), reached), result, (by, code))
            self.assertIn(result, RESULTS)

    def test_codes(self) -> None:
        """A client may close with any code; a stranger's is no label."""
        counts = Counts()
        for code in (1000, 3000, 3001, 4999):
            counts.closed(SimpleNamespace(reached=0.1), ending("client", code))  # type: ignore[arg-type]  # enough
        self.assertEqual(counts.snapshot()["closed"], {"completed": {"1000": 1, "other": 3}})

    def test_bytes(self) -> None:
        """Bytes are those of sessions that are over, and of those that are not."""
        counts = Counts()
        counts.closed(SimpleNamespace(reached=None), ending("target", 1011, up=3, down=5))  # type: ignore[arg-type]
        snapshot = counts.snapshot(10, 20)
        self.assertEqual((snapshot["up"], snapshot["down"]), (13, 25))

    def test_changed(self) -> None:
        """Somebody is told of whatever is new."""
        counts, told = Counts(), []
        counts.changed = lambda: told.append(1)
        session: Any = SimpleNamespace(reached=None)
        counts.opened(session)
        counts.closed(session, ending("client", 1000))
        counts.refused(403, "x")
        counts.shaken(0.1)
        self.assertEqual(len(told), 4)


class AddedTests(SynchronousTestCase):
    def some(self, *refusals: str) -> dict[str, Any]:
        counts = Counts()
        for words in refusals:
            counts.refused(403, words)
        counts.shaken(0.002)
        plain: dict[str, Any] = json.loads(json.dumps(counts.snapshot()))
        return plain

    def test_sums(self) -> None:
        """Snapshots add up, whatever only one of them has; neither is changed."""
        one, other = self.some("Origin not allowed"), self.some("Token missing", "Origin not allowed")
        before = json.dumps(one)
        total = added(one, other)
        self.assertEqual(total["refusals"], {"origin": 2, "token": 1})
        self.assertEqual(sum(total["histograms"]["tls_handshake"]["counts"]), 2)
        self.assertEqual(json.dumps(one), before)

    def test_nothing(self) -> None:
        """To nothing something is added."""
        self.assertEqual(added(nothing(), self.some("x")), self.some("x"))

    def test_ledger(self) -> None:
        """What a process that is no more has counted stays, and its successor's is added to it."""
        ledger = Ledger()
        ledger.enter("first", self.some("Origin not allowed"))
        ledger.enter("second", self.some("Origin not allowed"))
        ledger.enter("first", self.some("Origin not allowed", "Origin not allowed"))
        self.assertEqual(ledger.total["refusals"], {"origin": 3})
        ledger.close("first")
        ledger.close("never seen")
        self.assertEqual(ledger.total["refusals"], {"origin": 3})
        ledger.enter("third", self.some("Origin not allowed"))
        self.assertEqual(ledger.total["refusals"], {"origin": 4})

    def test_abandoned(self) -> None:
        """The sessions of a process that was killed are lost; one that has ended them all has lost none."""
        ledger = Ledger()
        for name, closed in (("killed", 1), ("other", 3)):
            ledger.enter(name, {**nothing(), "opened": 3, "closed": {"completed": {"1000": closed}}})
            ledger.close(name)
        total = ledger.total
        self.assertEqual(total["closed"], {"completed": {"1000": 4}, "lost": {"1006": 2}})
        self.assertEqual((total["opened"], sum(sum(each.values()) for each in total["closed"].values())), (6, 6))
