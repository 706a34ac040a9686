"""A picture of the benchmark's answers: beside TRL, and how time and memory grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OURS, OTHERS = "#2f6f9f", "#c2703d"
BESIDE = (
    "batch-1", "length-128", "default", "length-512", "length-2048", "batch-32", "prompt-tuning",
    "full",
)  # fmt: skip
GROWTH: Mapping[str, Sequence[tuple[float, str]]] = {
    "layers": ((4, "layers-4"), (8, "rows-64"), (16, "layers-16"), (30, "layers-30")),
    "tokens a row (batch 8)": (
        (128, "length-128"), (512, "length-512"), (1024, "length-1024"), (2048, "length-2048"),
    ),
    "rows": ((64, "rows-64"), (256, "rows-256"), (1024, "rows-1024")),
    "vocabulary, thousands": (
        (50.257, "rows-64"), (100, "vocabulary-100000"), (150, "vocabulary-150000"),
    ),
}  # fmt: skip

Found = Mapping[str, Mapping[str, Any]]


def draw(path: Path, found: Found) -> None:
    """Writes the PNG; settings that were not measured are left out."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure = pyplot.figure(figsize=(11, 7.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.15, 1))
    names = [name for name in BESIDE if name in found and "trl" in found[name]["sides"]]
    for axes, key, title, unit in zip(
        above.subplots(1, 3),
        ("tokens_per_second", "peak_bytes", "first_step_seconds"),
        ("tokens a second", "peak memory, GB", "seconds to the first step"),
        (1, 1e9, 1),
        strict=True,
    ):
        _bars(axes, found, names, key, unit)
        axes.set_title(title, loc="left", fontsize=10)
    above.legend(
        *above.axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    for axes, (title, points) in zip(below.subplots(1, 4), GROWTH.items(), strict=True):
        _grow(axes, found, [(at, name) for at, name in points if name in found])
        axes.set_xlabel(title)
    below.suptitle(
        "ftune alone: microseconds a token (blue), peak memory in GB (orange)", fontsize=10
    )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _bars(axes: Any, found: Found, names: Sequence[str], key: str, unit: float) -> None:
    for offset, side, colour, told in ((0.2, "ftune", OURS, "ftune"), (-0.2, "trl", OTHERS, "TRL")):
        values = [found[name]["sides"][side][key] / unit for name in names]
        places = [len(names) - 1 - at + offset for at in range(len(names))]
        bars = axes.barh(places, values, height=0.38, color=colour, label=told)
        axes.bar_label(bars, [f"{v:,.0f}" if v >= 100 else f"{v:.1f}" for v in values], padding=2,
                       fontsize=7.5)  # fmt: skip
    axes.set_yticks(
        [len(names) - 1 - at for at in range(len(names))],
        ["as the rows are" if name == "default" else name.replace("-", " ", 1) for name in names],
    )
    axes.margins(x=0.14)


def _grow(axes: Any, found: Found, points: Sequence[tuple[float, str]]) -> None:
    at = [place for place, _ in points]
    ours = [found[name]["sides"]["ftune"] for _, name in points]
    axes.plot(at, [1e6 / one["tokens_per_second"] for one in ours], "o-", color=OURS)
    axes.set_ylim(bottom=0)
    axes.tick_params(axis="y", colors=OURS)
    beside = axes.twinx()
    beside.spines["right"].set_visible(True)
    beside.plot(at, [one["peak_bytes"] / 1e9 for one in ours], "s--", color=OTHERS)
    beside.set_ylim(bottom=0)
    beside.tick_params(axis="y", colors=OTHERS)
    axes.set_xlim(left=0)
