"""sweep.html: the points of a sweep as a table that sorts and a picture, linked to their runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ftune.report.html.frame import SWITCH, document
from ftune.report.html.pieces import Cell, folded, section, sortable, table, words
from ftune.report.html.scatter import SCRIPT, Axis, Dot, Kind, Scatter, better, pruned
from ftune.report.scores import Interval
from ftune.report.sweep import Spot, Swept, headline, heads, row, shown
from ftune.report.sweep_values import COSTS, is_numeric, values_of
from ftune.report.tolerant import number

MARK = "`"  # of Markdown
KINDS = {"done": "good", "failed": "bad"}


def sweep_page(found: Swept) -> str:
    """The whole page, one file; its links are relative to the sweep's folder."""
    picture = _scatter(found)
    notes = "".join(f"<li>{words(note)}</li>" for note in found.notes)
    doubt = f'<p class="parting">{words(found.doubt.replace(MARK, ""))}</p>' if found.doubt else ""
    parts = [
        f'<header><div class="bar"><p class="name">{words(found.name)} '
        f'<span class="quiet">sweep</span></p>{SWITCH}</div>'
        f"<h1>{words(headline(found))}</h1>{doubt}</header>",
        section("notes", "Notes", f'<ul class="warnings">{notes}</ul>' if notes else ""),
        section("points", "Points", _table(found), "A click on a head sorts by it."),
        picture.section(),
        _failed(found),
        section("commands", "Commands", _commands(found)),
    ]
    payload: dict[str, Any] = {"charts": [], "predictions": [], "scatter": picture.payload()}
    body = "\n".join(part for part in parts if part)
    return document(f"Sweep {found.name}", body, payload, more=(SCRIPT,))


def _table(found: Swept) -> str:
    titles = heads(found, whole=True)
    keys = len(found.spots[0].values)
    best = found.best
    rows = []
    for spot in found.spots:
        cells = list(map(words, row(found, spot, whole=True)))
        if "state" in titles:
            at = titles.index("state")
            cells[at] = f'<span class="badge {KINDS.get(spot.state, "plain")}">{cells[at]}</span>'
        if spot is best:
            cells[0] = f'<b class="champion">{cells[0]}</b>'
        sorts = _sorts(found, spot, titles)
        made = [Cell(html, sorts[i] if i < len(sorts) else None) for i, html in enumerate(cells)]
        rows.append([*made, Cell(_link(found, spot), None)])
    figures = range(keys + ("state" in titles), len(titles))
    return sortable([*map(words, titles), "report"], rows, right=figures)


def _sorts(found: Swept, spot: Spot, titles: tuple[str, ...]) -> list[float | str | None]:
    """What each cell is sorted by: a number, "" where there is none, None for its words."""
    sorts: list[float | str | None] = []
    for key, given in spot.values.items():
        sorts.append(given if is_numeric(found, key) else None)
    sorts += [None] * ("state" in titles)
    for _, stage, key in COSTS[:3]:
        sorts.append(_or_blank(spot.cost(stage, key)))
    names = [name for name in found.metrics if name != found.metric]
    for name in (found.metric, *names) if found.metric else ():
        score = spot.score(name)
        sorts.append(_or_blank(score.tuned if score else None))
        if name == found.metric:
            ends = score.tuned_interval if score else None
            sorts.append(_or_blank(ends[0] if ends else None))
    return sorts


def _or_blank(value: float | None) -> float | str:
    return "" if value is None else value


def _href(found: Swept, spot: Spot) -> str:
    if spot.folder is None:
        return ""
    folder = Path(os.path.relpath(spot.folder, found.folder)).as_posix()
    return quote(f"{folder}/report.html")


def _link(found: Swept, spot: Spot) -> str:
    href = _href(found, spot)
    said = spot.folder.name if spot.folder else ""
    return f'<a href="{words(href)}">{words(said)}</a>' if href else ""


def _scatter(found: Swept) -> Scatter:
    """Keys and costs across, metrics and costs upward; at first the key that varies the most."""
    keys = [key for key in found.spots[0].values if len(values_of(found, key)) > 1]
    axes = [
        Axis(key)
        if is_numeric(found, key)
        else Axis(key, "choice", names=tuple(shown(v) for v in values_of(found, key)))
        for key in keys
    ]
    metrics = [m for m in (found.metric, *found.metrics) if m]
    metrics = list(dict.fromkeys(metrics))
    axes += [_metric_axis(found, name) for name in metrics]
    axes += [Axis(name, kind, "low") for name, kind in _COST_AXES]
    points = [_dot(found, spot, keys, metrics) for spot in found.spots if spot.scores or spot.run]
    return pruned(Scatter(tuple(axes), points, 0, len(keys)))


_COST_AXES: tuple[tuple[str, Kind], ...] = (
    ("trainable parameters", "number"),
    ("peak memory", "bytes"),
    ("training time", "seconds"),
    ("size on disk", "bytes"),
)


def _metric_axis(found: Swept, name: str) -> Axis:
    score = next((s for spot in found.spots if (s := spot.score(name))), None)
    return Axis(name, "number", better(score.higher_is_better if score else None))


def _dot(found: Swept, spot: Spot, keys: list[str], metrics: list[str]) -> Dot:
    values: list[float | None] = []
    ends: list[Interval | None] = [None] * len(keys)
    for key in keys:
        given = spot.values[key]
        listed = values_of(found, key)
        values.append(number(given) if is_numeric(found, key) else listed.index(given))
    for name in metrics:
        score = spot.score(name)
        values.append(score.tuned if score else None)
        ends.append(score.tuned_interval if score else None)
    for _, stage, key in COSTS:
        values.append(spot.cost(stage, key))
        ends.append(None)
    return Dot(spot.label, tuple(values), tuple(ends), _href(found, spot))


def _failed(found: Swept) -> str:
    said = "".join(
        f'<h3>{words(spot.label)}</h3><pre class="error">{words(spot.error)}</pre>'
        for spot in found.of("failed")
    )
    return section("failed", "What failed", said)


def _commands(found: Swept) -> str:
    rows = [(words(s.label), f"<code>{words(s.command)}</code>") for s in found.spots]
    return folded("What runs a point alone", table(("point", "command"), rows))
