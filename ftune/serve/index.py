"""The page of all runs: a line for each, with its state and its loss as a small curve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from ftune.report.brief import Brief, brief
from ftune.report.html.frame import SWITCH, document
from ftune.report.html.pieces import section, table, words
from ftune.report.numbers import duration, value
from ftune.report.series import Points, read_series
from ftune.report.state import when
from ftune.report.tolerant import number

WIDTH, HEIGHT, POINTS = 140, 32, 100  # of a small curve
HEADS = ("run", "state", "started", "took", "loss", "", "metrics")
KINDS = {"done": "good", "failed": "bad", "killed": "bad"}


def index(
    runs: Mapping[str, Path], sweeps: Mapping[str, Path], evaluations: Mapping[str, Path]
) -> str:
    """The page, from the folders of the runs by name/id, and what else there is by its name."""
    rows = [_row(name, brief(folder), _loss(folder)) for name, folder in runs.items()]
    title = f"{len(rows)} run{'s' * (len(rows) != 1)}"
    top = f'<header><div class="bar"><h1>{title}</h1>{SWITCH}</div></header>'
    listed = table(HEADS, rows, right=(3, 5)) if rows else "<p>None yet. ftune train makes one.</p>"
    parts = [
        top,
        section("runs", "Runs", listed),
        section("sweeps", "Sweeps", _links(sweeps, "sweep.html")),
        section("evaluations", "Evaluations", _links(evaluations, "report.html")),
    ]
    return document("runs", "".join(parts), {"charts": []}, live=True)


def _links(found: Mapping[str, Path], page: str) -> str:
    lines = "".join(
        f'<li><a href="/runs/{words(quote(name))}/{page}">{words(name)}</a></li>' for name in found
    )
    return f"<ul>{lines}</ul>" if lines else ""


def _row(name: str, run: Brief, loss: Points) -> tuple[str, ...]:
    scores = ", ".join(
        f"{s.name} {value(s.base)} → {value(s.tuned)}" if s.base is not None
        else f"{s.name} {value(s.tuned)}"
        for s in run.scores[:3]
    )  # fmt: skip
    return (
        f'<a class="name-of" href="/run/{words(quote(name))}">{words(name)}</a>',
        f'<span class="badge {KINDS.get(run.state, "plain")}">{words(run.state)}</span>',
        f'<span class="name-of">{words(when(run.facts))}</span>',
        words(duration(number(run.facts.get("seconds")))),
        _spark(loss),
        words(value(loss[-1][1])) if loss else "",
        words(scores),
    )


def _loss(folder: Path) -> Points:
    return read_series(folder / "train" / "metrics.jsonl", [])["loss"]


def _spark(points: Points) -> str:
    if len(points) < 2:
        return ""
    kept = points[:: -(-len(points) // POINTS)]
    first, last = kept[0][0], kept[-1][0]
    low, high = min(y for _, y in kept), max(y for _, y in kept)
    path = "L".join(
        f"{2 + (x - first) / ((last - first) or 1) * (WIDTH - 4):.1f} "
        f"{2 + (high - y) / ((high - low) or 1) * (HEIGHT - 4):.1f}"
        for x, y in kept
    )
    return f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}"><path d="M{path}"/></svg>'
