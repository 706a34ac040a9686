"""What the page's script draws: curves, and predictions that can be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftune.report.curves import SMOOTHED_FROM, smooth
from ftune.report.gather import Gathered
from ftune.report.html.pieces import data
from ftune.report.samples import read_samples
from ftune.report.series import Points

PREDICTIONS = 200  # on a page, evenly spread over the rows; all are in predictions.jsonl
BYTES = 600_000  # of these; where they are longer there are fewer
POINTS = 2000  # of one curve; of a longer one every n-th is drawn
# Title, what a figure is, and the curves: label, key of metrics.jsonl, colour.
CHARTS = (
    ("Loss per token", "", (("training", "loss", "a"), ("evaluation", "eval_loss", "b"))),
    ("Learning rate", "", (("learning rate", "learning_rate", "c"),)),
    ("Gradient norm", "", (("gradient norm", "grad_norm", "c"),)),
    ("Tokens per second", "", (("tokens/s", "tokens_per_second", "c"),)),
    ("Memory", "bytes", (("memory", "memory_bytes", "c"),)),
)


def content(run: Gathered) -> dict[str, Any]:
    """The payload of the page as plain values."""
    return {"charts": charts(run), "predictions": _predictions(run.answers)}


def _predictions(path: Path) -> list[dict[str, Any]]:
    """At most ``PREDICTIONS``, and about ``BYTES``; one at least, if there is one."""
    count = PREDICTIONS
    while True:
        found = [sample.to_plain() for sample in read_samples(path, [], count)]
        size = len(data(found).encode("utf-8"))
        if size <= BYTES or count == 1:
            return found
        count = max(1, int(min(count, len(found)) * 0.9 * BYTES / size))


def charts(run: Gathered) -> list[dict[str, Any]]:
    """The charts that have points."""
    found = []
    for title, unit, curves in CHARTS:
        lines = [line for curve in curves for line in _lines(*curve, run.series[curve[1]])]
        if lines:
            found.append({"title": title, "unit": unit, "lines": lines})
    return found


def _lines(label: str, key: str, colour: str, points: Points) -> list[dict[str, Any]]:
    """A curve; the training loss also smoothed where it has many points."""
    if not points:
        return []
    steps, figures = zip(*points, strict=True)
    thin = -(-len(points) // POINTS)
    smoothed = key == "loss" and len(points) >= SMOOTHED_FROM
    drawn = [(label, figures, smoothed)]
    if smoothed:
        drawn.append((f"{label}, smoothed", tuple(smooth(figures)), False))
    return [
        {"label": name, "colour": colour, "faint": faint, "x": steps[::thin], "y": ys[::thin]}
        for name, ys, faint in drawn
    ]
