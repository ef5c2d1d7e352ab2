"""What was counted, as Prometheus reads it: its text format, or OpenMetrics for those who ask for that.

prometheus-client writes it; what it has of its own for several processes, files in a folder, is not needed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from wsproxy import __version__
from wsproxy.metrics.histogram import BOUNDS
from wsproxy.metrics.reasons import REASONS

__all__ = ["Now", "exposition"]

_HISTOGRAMS = {
    "session_duration": ("session_duration", "How long sessions lasted."),
    "target_connect": ("target_connect", "From a session's beginning until its target was connected."),
    "tls_handshake": ("tls_handshake", "How long TLS handshakes took."),
    "round_trip": ("heartbeat_round_trip", "From a ping to its pong, with what waited before either."),
    "delay": ("delay", "How late this process came to what was due, looked at four times a second."),
}
"""By the names of L{BOUNDS}."""


@dataclass(frozen=True, slots=True)
class Now:
    """
    What is so at this moment, and is not added up over time.

    @ivar sessions: how many are open.
    @ivar queued: bytes that wait in us, C{(up, down)}.
    @ivar states: workers by their states; empty without workers.
    """

    sessions: int = 0
    queued: tuple[int, int] = (0, 0)
    draining: bool = False
    started: float = 0.0
    states: dict[str, int] = field(default_factory=dict)


def exposition(total: dict[str, Any], now: Now, accept: str) -> tuple[bytes, str]:
    """
    @param total: a snapshot, or a sum of some.
    @param accept: the header that whoever asks has sent.
    @return: the document, and its content type.
    """
    encode, kind = choose_encoder(_preferred(accept))
    document: bytes = encode(_Collected([*_gauges(now), *_counters(total), *_histograms(total["histograms"])]))
    return document, kind


def _preferred(accept: str) -> str:
    """
    @return: the formats of that header, the best first (RFC 9110 section 12.4.2), without those that are not wanted and
        what is worse than plain text: prometheus-client takes the first that it knows.
    """
    weighted = [(_weight(each), each.strip()) for each in accept.split(",")]
    wanted = [each for weight, each in sorted(weighted, key=lambda one: -one[0]) if weight > 0]
    kinds = [each.partition(";")[0].strip().lower() for each in wanted]
    return ",".join(wanted[: kinds.index("text/plain") + 1] if "text/plain" in kinds else wanted)


def _weight(kind: str) -> float:
    for parameter in kind.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


class _Collected:
    """What an encoder takes for a registry."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def _gauges(now: Now) -> Iterator[Metric]:
    yield InfoMetricFamily("wsproxy_build", "Which version this is.", {"version": __version__})
    yield GaugeMetricFamily("wsproxy_start_time_seconds", "When it was started.", now.started)
    yield GaugeMetricFamily("wsproxy_sessions", "Open sessions.", now.sessions)
    yield GaugeMetricFamily("wsproxy_draining", "Whether new clients are refused.", int(now.draining))
    queued = GaugeMetricFamily("wsproxy_queued_bytes", "Bytes that wait in the proxy.", labels=["direction"])
    for direction, size in zip(("up", "down"), now.queued, strict=True):
        queued.add_metric([direction], size)
    yield queued
    if now.states:
        workers = GaugeMetricFamily("wsproxy_workers", "Workers, by whether they answer.", labels=["state"])
        for state, count in now.states.items():
            workers.add_metric([state], count)
        yield workers


def _counters(total: dict[str, Any]) -> Iterator[Metric]:
    yield CounterMetricFamily("wsproxy_opened_sessions", "Sessions that have begun.", total["opened"])
    closed = CounterMetricFamily(
        "wsproxy_closed_sessions", "Sessions that have ended.", labels=["result", "close_code"]
    )
    for result, codes in sorted(total["closed"].items()):
        for code, count in sorted(codes.items()):
            closed.add_metric([result, code], count)
    yield closed
    refusals = CounterMetricFamily("wsproxy_refusals", "Clients that were turned away.", labels=["reason"])
    for reason in REASONS:  # all of them: a rate of one that has not been is 0, and not nothing
        refusals.add_metric([reason], total["refusals"].get(reason, 0))
    yield refusals
    carried = CounterMetricFamily("wsproxy_bytes", "Payload of sessions.", labels=["direction"])
    for direction in ("up", "down"):
        carried.add_metric([direction], total[direction])
    yield carried


def _histograms(plain: dict[str, Any]) -> Iterator[Metric]:
    for key, (name, text) in _HISTOGRAMS.items():
        family = HistogramMetricFamily(f"wsproxy_{name}_seconds", text)
        family.add_metric([], _buckets(key, plain[key]), plain[key]["sum"])
        yield family
    text = "How long bytes wait in the proxy, of each session that carries any, looked at once a second."
    waiting = HistogramMetricFamily("wsproxy_waiting_seconds", text, labels=["direction"])
    for direction in ("up", "down"):
        key = f"waiting_{direction}"
        waiting.add_metric([direction], _buckets(key, plain[key]), plain[key]["sum"])
    yield waiting


def _buckets(key: str, histogram: dict[str, Any]) -> list[tuple[str, float]]:
    """Each with those below it."""
    buckets, count = [], 0
    for bound, more in zip([*map(str, map(float, BOUNDS[key])), "+Inf"], histogram["counts"], strict=True):
        count += more
        buckets.append((bound, float(count)))
    return buckets
