"""Samples to medians and ratios, and those to a table."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.proxies import OURS, Proxy
from benchmarks.scenarios import Sample, Scenario

__all__ = ["machine", "rows", "table"]


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    information = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(": ")[2] for line in information if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": models[0] if models else platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "twisted": version("twisted"),
    }


def rows(
    scenario: Scenario, proxies: Sequence[Proxy], outcomes: Mapping[str, Sequence[Sample] | str]
) -> Iterable[dict[str, Any]]:
    """
    One row for each figure of a scenario.

    @return: dictionaries fit for JSON. C{values} has the median of each proxy's rounds, C{None} where it failed;
        C{ratio} is ours to that of the C{best} peer that speaks WebSocket, more than 1 where ours is better.
    """
    for figure in scenario.figures:
        values: dict[str, float | None] = {}
        rounds: dict[str, list[float]] = {}
        for name, samples in outcomes.items():
            if isinstance(samples, str):
                values[name] = None
            else:
                rounds[name] = [figure.of(sample) for sample in samples]
                values[name] = median(rounds[name])
        peers = {
            value: proxy.name
            for proxy in proxies
            if proxy.websocket and proxy.name != OURS and (value := values.get(proxy.name)) is not None
        }
        best = (min if figure.lessIsBetter else max)(peers, default=None)
        ours = values.get(OURS)
        ratio = None
        if ours and best:
            ratio = best / ours if figure.lessIsBetter else ours / best
        yield {
            "scenario": scenario.name,
            "unit": figure.unit,
            "lessIsBetter": figure.lessIsBetter,
            "values": values,
            "rounds": rounds,
            "best": None if best is None else peers[best],
            "ratio": ratio,
        }


def table(results: Iterable[Mapping[str, Any]], names: Sequence[str]) -> str:
    """The rows as text."""
    lines = [["scenario", "", *names, "ratio", "to"]]
    last = None
    for row in results:
        values = row["values"]
        cells = [
            "-" if name not in values else "fails" if values[name] is None else _short(values[name]) for name in names
        ]
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        scenario = row["scenario"]
        lines.append(["" if scenario == last else scenario, row["unit"], *cells, ratio, row["best"] or ""])
        last = scenario
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["=" * width for width in widths]
    lines = [rule, lines[0], rule, *lines[1:], rule]
    aligned = (
        [
            cell.ljust(width) if index < 2 or index == len(line) - 1 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    )
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
