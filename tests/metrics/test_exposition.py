"""The metrics as Prometheus and OpenMetrics have them, read by a parser that is not ours."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openMetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from twisted.trial.unittest import SynchronousTestCase

from wsproxy.metrics.counts import Counts
from wsproxy.metrics.exposition import Now, exposition

LABELS = {"result", "close_code", "reason", "direction", "le", "state", "version"}


class ExpositionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.counts = Counts()
        self.counts.refused(403, "Origin not allowed")
        for seconds in (0.004, 0.3, 99.0):
            self.counts.histograms["round_trip"].add(seconds)
        self.now = Now(3, (10, 20), True, 1.7e9, {"up": 2, "stale": 1})

    def samples(self, accept: str) -> dict[tuple[str, str], float]:
        document, kind = exposition(self.counts.snapshot(), self.now, accept)
        parse = openMetrics if kind.startswith("application/openmetrics-text") else plain
        return {
            (sample.name, ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
            for family in parse(document.decode())
            for sample in family.samples
        }

    def test_formats(self) -> None:
        """Both formats say the same: what is counted, and buckets that contain those below them."""
        for accept in ("", "application/openmetrics-text; version=1.0.0"):
            samples = self.samples(accept)
            self.assertEqual(samples["wsproxy_sessions", ""], 3)
            self.assertEqual(samples["wsproxy_draining", ""], 1)
            self.assertEqual(samples["wsproxy_queued_bytes", "direction=down"], 20)
            self.assertEqual(samples["wsproxy_workers", "state=stale"], 1)
            self.assertEqual(samples["wsproxy_refusals_total", "reason=origin"], 1)
            self.assertEqual(samples["wsproxy_refusals_total", "reason=token"], 0)
            name = "wsproxy_heartbeat_round_trip_seconds"
            self.assertEqual(samples[f"{name}_bucket", "le=0.005"], 1)
            self.assertEqual(samples[f"{name}_bucket", "le=0.5"], 2)
            self.assertEqual(samples[f"{name}_bucket", "le=30.0"], 2)
            self.assertEqual(samples[f"{name}_bucket", "le=+Inf"], 3)
            self.assertEqual(samples[f"{name}_count", ""], 3)

    def test_accept(self) -> None:
        """OpenMetrics is for those who want it, and no less than the text format."""
        prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        for accept, wanted in (
            ("", False),
            ("*/*", False),
            ("application/openmetrics-text", True),
            ("application/openmetrics-text;q=0", False),
            ("text/plain;q=0.9,application/openmetrics-text;q=0.1", False),
            ("text/plain;q=0.1, application/openmetrics-text; q=0.9", True),
            ("application/openmetrics-text;q=much", False),
            (prometheus, True),
        ):
            _, kind = exposition(self.counts.snapshot(), self.now, accept)
            self.assertEqual(kind.startswith("application/openmetrics-text"), wanted, accept)

    def test_labels(self) -> None:
        """No label is a stranger's word, nor any user's name."""
        document, _ = exposition(self.counts.snapshot(), self.now, "")
        names = {name for family in plain(document.decode()) for sample in family.samples for name in sample.labels}
        self.assertEqual(names - LABELS, set())
