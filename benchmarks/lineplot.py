"""How long keys took to their echo, as a picture. Run by an interpreter that has matplotlib.

python -m benchmarks.lineplot line.json line.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot


def plot(results: str, picture: str) -> None:
    """The share of keys whose echo was there by then, of each proxy."""
    run = json.loads(Path(results).read_text())
    figure, axes = pyplot.subplots(figsize=(6.4, 3))
    for name, found in run["lags"].items():
        lags = sorted(found)
        shares = [100 * (number + 1) / len(lags) for number in range(len(lags))]
        axes.step([lags[0], *lags], [0, *shares], where="post", label=name)
    axes.set_xlabel("seconds from a key to its echo")
    axes.set_ylabel("% of keys")
    axes.set_title(f"Over a line of {run['rate'] // 1000} KB/s", fontsize=9)
    axes.set_xscale("log")
    ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    plot(*sys.argv[1:])
