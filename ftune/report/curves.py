"""The course of training as a picture: the loss, and the learning rate small below it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ftune.report.series import Points, Series
from ftune.run import atomic

TRAIN, EVAL, RATE = "#2f6fb3", "#d9622b", "#6b7280"
INK, QUIET, GRID = "#1f2933", "#6b7280", "#e5e7eb"
SMOOTHED_FROM = 40  # points; fewer are drawn as they are
DPI = 160


def draw_curves(series: Series, path: Path, title: str = "") -> bool:
    """Writes a PNG of 8 x 5 inches; False, and no file, if there is no loss to draw."""
    loss, held_out, rate = series["loss"], series["eval_loss"], series["learning_rate"]
    if not loss and not held_out:
        path.unlink(missing_ok=True)
        return False
    from matplotlib.figure import Figure

    picture = Figure(figsize=(8, 5), dpi=DPI, facecolor="white", layout="constrained")
    if rate:
        above, below = picture.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        _draw_rate(below, rate)
        lowest = below
    else:
        above = lowest = picture.subplots()
    _draw_loss(above, loss, held_out)
    lowest.set_xlabel("optimizer step", color=QUIET, fontsize=9)
    above.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold", pad=28)
    for axes in picture.axes:
        _dress(axes)
    only = {step for step, _ in (*loss, *held_out)}
    if len(only) == 1:
        lowest.set_xlim(min(only) - 1, max(only) + 1)
    atomic.write(path, lambda p: picture.savefig(p, format="png", metadata={"Software": None}))
    return True


def _draw_loss(axes: Any, loss: Points, held_out: Points) -> None:
    if loss:
        steps, figures = zip(*loss, strict=True)
        few = len(loss) < SMOOTHED_FROM
        dots = {"marker": "o", "markersize": 3} if few else {}
        plain = "training loss" if few else None
        axes.plot(
            steps, figures, color=TRAIN, lw=1.8 if few else 0.8, alpha=1 if few else 0.3,
            label=plain, **dots,
        )  # fmt: skip
        if not few:
            axes.plot(steps, smooth(figures), color=TRAIN, lw=2, label="training loss (smoothed)")
    if held_out:
        steps, figures = zip(*held_out, strict=True)
        best, step = min((figure, step) for step, figure in held_out)
        axes.plot(
            steps, figures, color=EVAL, lw=1.8, marker="o", markersize=5, markeredgecolor="white",
            label=f"evaluation loss (lowest {best:.3f} at step {step:,})",
        )  # fmt: skip
        axes.plot([step], [best], marker="o", markersize=10, mfc="none", mec=EVAL, mew=1.2)
    axes.set_ylabel("loss per token", color=QUIET, fontsize=9)
    axes.margins(x=0.02, y=0.08)
    # Above the axes, where no curve can run into it.
    axes.legend(
        frameon=False, fontsize=9, labelcolor=INK, ncols=2, loc="lower left",
        bbox_to_anchor=(-0.01, 1.0), borderaxespad=0.2,
    )  # fmt: skip


def _draw_rate(axes: Any, rate: Points) -> None:
    steps, figures = zip(*rate, strict=True)
    axes.fill_between(steps, figures, color=RATE, alpha=0.15, lw=0)
    axes.plot(steps, figures, color=RATE, lw=1.4, marker="o" if len(rate) == 1 else "", ms=3)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("learning\nrate", color=QUIET, fontsize=9)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.yaxis.get_offset_text().set(fontsize=8, color=QUIET)
    axes.locator_params(axis="y", nbins=3)


def _dress(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.grid(axis="y", color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(colors=QUIET, labelsize=8, length=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def smooth(figures: Sequence[float]) -> list[float]:
    """An exponential mean over about a twentieth of the points, taken from both ends and averaged,
    so that the smoothed curve doesn't lag behind the true one."""
    there = _running_mean(figures)
    back = _running_mean(figures[::-1])[::-1]
    return [(a + b) / 2 for a, b in zip(there, back, strict=True)]


def _running_mean(figures: Sequence[float]) -> list[float]:
    keep = 1 - 1 / max(1.0, len(figures) / 20)
    mean, weight, found = 0.0, 0.0, []
    for figure in figures:
        mean, weight = keep * mean + (1 - keep) * figure, keep * weight + (1 - keep)
        found.append(mean / weight)
    return found
