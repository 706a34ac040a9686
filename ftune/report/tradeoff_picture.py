"""Cost against quality, one panel for each cost, with intervals and the front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ftune.report.curves import DPI, EVAL, GRID, INK, QUIET, TRAIN
from ftune.report.naming import Frame, names
from ftune.report.numbers import size, value
from ftune.report.tradeoffs import COSTS, Tradeoffs
from ftune.run import atomic

FRAME = Frame(width=290.0, height=200.0, letter=4.2, line=9.5)  # the inside of a panel, in points
NAMES = 7.5  # points of a name
UNITS = {
    "trainable": "parameters",
    "training time": "seconds",
    "time per prompt": "seconds",
}  # the others are bytes


def drawable(found: Tradeoffs) -> list[str]:
    """The costs that a panel can be drawn of: of two runs at least both are known."""
    return [name for name, _, _ in COSTS if len(points(found, name)) > 1]


def points(found: Tradeoffs, cost: str) -> list[tuple[str, float, float, tuple[float, float]]]:
    """Name, cost, figure and interval (the figure twice where there is none) of each run."""
    listed = []
    for one in found.candidates:
        score, spent = one.score(found.metric), one.costs[cost]
        if score and score.tuned is not None and spent:
            ends = score.tuned_interval or (score.tuned, score.tuned)
            listed.append((one.name, spent, score.tuned, ends))
    return listed


def draw_tradeoffs(found: Tradeoffs, path: Path) -> bool:
    """Writes a PNG; False, and no file, where fewer than two runs have a cost and a figure."""
    shown = drawable(found)
    if not shown:
        return False
    from matplotlib.figure import Figure

    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    picture = Figure((5 * columns, 3.6 * rows), dpi=DPI, facecolor="white", layout="constrained")
    for i, cost in enumerate(shown, 1):
        _panel(picture.add_subplot(rows, columns, i), found, cost)
    atomic.write(path, lambda p: picture.savefig(p, format="png", metadata={"Software": None}))
    return True


def _panel(axes: Any, found: Tradeoffs, cost: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    listed = points(found, cost)
    front = found.fronts[cost]
    for name, spent, figure, (low, high) in listed:
        colour = EVAL if name in front else TRAIN
        axes.plot([spent, spent], [low, high], color=colour, lw=1.2, alpha=0.6)
        axes.plot([spent], [figure], "o", color=colour, ms=6)
    there = {name: (spent, figure) for name, spent, figure, _ in listed}
    line = [there[name] for name in front if name in there]
    if line:
        xs, ys = zip(*line, strict=True)
        axes.plot(xs, ys, color=EVAL, lw=1, ls="--", drawstyle="steps-post")
    spread = max(x for _, x, *_ in listed) / min(x for _, x, *_ in listed)
    if spread > 5:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    written = value if cost in UNITS else size
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: written(x)))
    axes.margins(0.18)
    _name(axes, listed, front)
    axes.set_xlabel(f"{cost} ({UNITS[cost]})" if cost in UNITS else cost, color=QUIET, fontsize=9)
    axes.set_ylabel(found.metric.replace("$", r"\$"), color=QUIET, fontsize=9)
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=QUIET, labelsize=8, length=0)


def _name(axes: Any, listed: Any, front: Sequence[str]) -> None:
    """Writes the names beside their dots, those on the front first."""
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())
    inside = axes.transScale + axes.transLimits  # to shares of the panel, whatever its place
    spots = []
    for name, spent, figure, _ in sorted(listed, key=lambda one: one[0] not in front):
        across, up = inside.transform((spent, figure))
        spots.append((name, across * FRAME.width, (1 - up) * FRAME.height))
    for (_, x, y), name in zip(spots, names(spots, FRAME), strict=True):
        if name is None:
            continue
        axes.annotate(
            name.text.replace("$", r"\$"), (x / FRAME.width, 1 - y / FRAME.height),
            xycoords="axes fraction", xytext=(name.x - x, y - name.y), textcoords="offset points",
            ha="right" if name.end else "left", fontsize=NAMES, color=INK,
        ).set_in_layout(False)  # fmt: skip
