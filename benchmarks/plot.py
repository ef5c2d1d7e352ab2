"""The table as a picture: a panel of bars for each figure. Run by an interpreter that has matplotlib.

python -m benchmarks.plot results.json results.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

_COLUMNS = 4


def plot(results: str, picture: str) -> None:
    """Read what a run has written, and draw it."""
    run = json.loads(Path(results).read_text())
    names = run["proxies"]
    colours = dict(zip(names, pyplot.cm.tab10.colors, strict=False))
    rows = run["results"]
    height = -(-len(rows) // _COLUMNS)
    figure, panels = pyplot.subplots(height, _COLUMNS, figsize=(4 * _COLUMNS, 0.9 + 1.7 * height), squeeze=False)
    for panel in panels.flat[len(rows) :]:
        panel.set_axis_off()
    for panel, row in zip(panels.flat, rows, strict=False):
        shown = [name for name in names if row["values"].get(name) is not None]
        values = [row["values"][name] for name in shown]
        bars = panel.barh(shown, values, color=[colours[name] for name in shown])
        panel.bar_label(bars, fmt="{:,.3g}" if max(values, default=0) < 1000 else "{:,.0f}", fontsize=7, padding=2)
        panel.invert_yaxis()
        panel.set_xlim(right=1.25 * max(values, default=1) or 1)
        better = "less is better" if row["lessIsBetter"] else "more is better"
        panel.set_title(f"{row['scenario']}: {row['unit']} ({better})", fontsize=8)
        panel.tick_params(labelsize=7)
        panel.set_xticks([])
        for side in ("top", "right", "bottom"):
            panel.spines[side].set_visible(False)
    machine = run["machine"]
    figure.suptitle(f"{machine['date']}, {machine['processor']}, {machine['processors']} processors", fontsize=9)
    figure.tight_layout()
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    plot(*sys.argv[1:])
