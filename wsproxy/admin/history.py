"""The last hour, for graphs: a sample every L{EVERY} seconds, in rings that never grow."""

from __future__ import annotations

from collections import deque
from typing import Any

__all__ = ["EVERY", "SAMPLES", "History"]

EVERY = 10.0
"""Seconds between two samples."""

SAMPLES = 360
"""An hour of them."""

_SERIES = ("sessions", "rate_up", "rate_down", "refusals", "round_trip")


class History:
    """
    Rates are those since the sample before; C{round_trip} is the mean of the heartbeats that were answered meanwhile,
    L{None} where none was.
    """

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=SAMPLES)
        self._series: dict[str, deque[float | None]] = {name: deque(maxlen=SAMPLES) for name in _SERIES}
        self._before: tuple[float, dict[str, Any]] | None = None

    def sample(self, now: float, total: dict[str, Any], sessions: int) -> None:
        """
        @param now: the time of day, in seconds since the epoch.
        @param total: a snapshot of what was counted: L{wsproxy.metrics.counts}.
        """
        before, self._before = self._before, (now, total)
        if before is None or now <= before[0]:
            return  # somebody has set the clock
        seconds, past = now - before[0], before[1]
        refused = sum(total["refusals"].values()) - sum(past["refusals"].values())
        self._times.append(round(now, 1))
        self._note("sessions", sessions)
        self._note("rate_up", (total["up"] - past["up"]) / seconds)
        self._note("rate_down", (total["down"] - past["down"]) / seconds)
        self._note("refusals", refused / seconds)
        self._note("round_trip", _mean(past["histograms"]["round_trip"], total["histograms"]["round_trip"]))

    def _note(self, name: str, value: float | None) -> None:
        # what a silent worker had counted may be missing for a moment
        self._series[name].append(None if value is None else round(max(0.0, value), 6))

    def plain(self) -> dict[str, Any]:
        """@return: the times, and as many values of each series."""
        return {"every": EVERY, "times": [*self._times], **{name: [*each] for name, each in self._series.items()}}


def _mean(before: dict[str, Any], after: dict[str, Any]) -> float | None:
    count = sum(after["counts"]) - sum(before["counts"])
    return (after["sum"] - before["sum"]) / count if count > 0 else None
