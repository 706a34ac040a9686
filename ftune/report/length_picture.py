"""A picture of how long examples are: one line of bars for each kind of length."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ftune.run.atomic import write

BINS = 60
BARS, MARKS = "#3b6ea5", "#b03a2e"


def draw(path: Path, lengths: Mapping[str, Mapping[int, int]], title: str) -> None:
    """Writes a PNG; ``lengths`` has, by name, how often each length was there."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    shown = {name: times for name, times in lengths.items() if times}
    figure = Figure(figsize=(8, 1.1 + 1.9 * len(shown)), layout="constrained")
    rows = figure.subplots(len(shown), 1, squeeze=False)
    for axes, (name, times) in zip(rows[:, 0], shown.items(), strict=True):
        ordered = sorted(times)
        axes.hist(ordered, bins=_edges(ordered), weights=[times[n] for n in ordered], color=BARS)
        middle = _percentile(times, 50)
        high = _percentile(times, 95)
        for value, words in ((middle, "half"), (high, "95%")):
            axes.axvline(value, color=MARKS, linewidth=1)
            axes.annotate(
                f"{words} ≤ {value:,}",
                (value, 0.96),
                xycoords=("data", "axes fraction"),
                xytext=(4, -2 if words == "half" else -16),
                textcoords="offset points",
                va="top",
                fontsize=8,
                color=MARKS,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8},
            )
        axes.set_ylabel("examples")
        axes.set_xlabel(name)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.0f}"))
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    write(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def _edges(ordered: list[int]) -> list[float]:
    """Edges of bars that all hold equally many whole numbers, so that none stands out or lacks."""
    low, high = ordered[0], ordered[-1]
    width = -(-(high - low + 1) // BINS)
    return [low - 0.5 + width * number for number in range(-(-(high - low + 1) // width) + 1)]


def _percentile(times: Mapping[int, int], share: float) -> int:
    wanted, seen = share / 100 * sum(times.values()), 0
    for length in sorted(times):
        seen += times[length]
        if seen >= wanted:
            return length
    return 0
