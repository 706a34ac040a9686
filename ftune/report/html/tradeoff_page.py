"""Many runs on one page: table, cost against quality, and their losses on one chart."""

from __future__ import annotations

import math

from ftune.report import numbers
from ftune.report.html.frame import SWITCH, document
from ftune.report.html.pieces import Cell, section, sortable, words
from ftune.report.html.scatter import SCRIPT, Axis, Dot, Kind, Scatter, better, pruned
from ftune.report.naming import Frame, names
from ftune.report.tradeoff_picture import UNITS, drawable, points
from ftune.report.tradeoffs import COSTS, SPEEDS, Candidate, Tradeoffs, unlike

COLOURS = ("a", "b", "c", "good", "bad", "quiet")  # of curves, by turns
POINTS = 1000  # of one curve
WIDTH, HEIGHT, LEFT, BELOW = 440, 260, 58, 34
FRAME = Frame(width=WIDTH - LEFT, height=HEIGHT - BELOW, letter=6.4, line=13.0)


def tradeoff_page(found: Tradeoffs) -> str:
    """The page; ``found``'s runs must have been gathered whole for their curves."""
    panels = "".join(_panel(found, cost) for cost in drawable(found))
    notes = "".join(f"<li>{words(note)}</li>" for note in found.notes)
    charts = _charts(found.candidates)
    title = f"{len(found.candidates)} runs compared"
    picture, best = scatter(found), any(found.fronts.values())
    parts = [
        f'<header><div class="bar"><h1>{title}</h1>{SWITCH}</div></header>',
        section("notes", "Notes", f'<ul class="warnings">{notes}</ul>' if notes else ""),
        section("table", "Cost and quality", _table(found)),
        section(
            "pareto",
            "Trade-offs",
            f'<div class="panels">{panels}</div>' if panels else "",
            ("Orange: no other run is cheaper and as good, or better and as cheap. " * best)
            + "Lines: 95% intervals.",
        ),
        picture.section(),
        section("curves", "Curves", '<div id="charts"></div>' if charts else ""),
    ]
    body = "\n".join(part for part in parts if part)
    payload = {"charts": charts, "predictions": [], "scatter": picture.payload()}
    return document(title, body, payload, more=(SCRIPT,))


def heads(found: Tradeoffs) -> tuple[str, ...]:
    """Heads of the table, the same here and on a screen."""
    metric = (found.metric, "95% interval") if found.metric else ()
    return ("run", "method", *costs_of(found), *speeds_of(found), *metric)


def costs_of(found: Tradeoffs) -> dict[str, str]:
    """The key of each cost that is known of a run at least, by its name."""
    known = {name: key for name, _, key in COSTS}
    return {n: k for n, k in known.items() if any(c.costs[n] is not None for c in found.candidates)}


def speeds_of(found: Tradeoffs) -> list[str]:
    """Names of the speeds that are known of a run at least."""
    return [n for n in SPEEDS if any(c.speeds[n] is not None for c in found.candidates)]


def row(found: Tradeoffs, one: Candidate) -> tuple[str, ...]:
    """A run's line of the table, as plain text."""
    costs = [numbers.figure(key, one.costs[name]) for name, key in costs_of(found).items()]
    score = one.score(found.metric)
    figures: tuple[str, ...] = ()
    if found.metric:
        figures = (
            numbers.value(score.tuned if score else None),
            numbers.interval(score.tuned_interval if score else None),
        )
    speeds = [numbers.value(one.speeds[name]) for name in speeds_of(found)]
    return (one.name, one.run.method, *costs, *speeds, *figures)


def _table(found: Tradeoffs) -> str:
    titles = heads(found)
    rows = []
    for one in found.candidates:
        cells = list(map(words, row(found, one)))
        spent = [_known(one.costs[name]) for name in costs_of(found)]
        speeds = [_known(one.speeds[name]) for name in speeds_of(found)]
        score = one.score(found.metric)
        figures = [_known(score.tuned if score else None)] * 2 if found.metric else []
        sorts = [None, None, *spent, *speeds, *figures]
        rows.append([Cell(html, by) for html, by in zip(cells, sorts, strict=True)])
    return sortable([words(head) for head in titles], rows, right=range(2, len(titles)))


def _known(value: float | None) -> float | str:
    """What a cell is sorted by; "" where nothing is known."""
    return "" if value is None else value


def scatter(found: Tradeoffs) -> Scatter:
    """Every cost, speed and metric against another; at first the metric by parameters."""
    names = list(dict.fromkeys(s.name for one in found.candidates for s in one.run.scores))
    axes = [Axis(name, _kind(name, key), "low") for name, _, key in COSTS]
    axes += [Axis(name, "number", "high") for name in SPEEDS]
    first = len(axes)
    directions = {s.name: s.higher_is_better for one in found.candidates for s in one.run.scores}
    for name in names:
        alike = not unlike(found.candidates, name)  # else none is better than another
        axes.append(Axis(name, "number", better(directions[name]) if alike else ""))
    points = [_dot(one, names) for one in found.candidates]
    start = first + names.index(found.metric) if found.metric in names else 1
    return pruned(Scatter(tuple(axes), points, 0, start))


def _kind(name: str, key: str) -> Kind:
    return "number" if name == "trainable" else "bytes" if key.endswith("bytes") else "seconds"


def _dot(one: Candidate, names: list[str]) -> Dot:
    costs = [one.costs[name] for name, _, _ in COSTS]
    values = [*costs, *one.speeds.values()]
    scores = [one.score(name) for name in names]
    ends = [*(None for _ in values), *(s.tuned_interval if s else None for s in scores)]
    return Dot(one.name, (*values, *(s.tuned if s else None for s in scores)), tuple(ends))


def _charts(candidates: tuple[Candidate, ...]) -> list[dict]:
    charts = []
    for title, key in (("Training loss", "loss"), ("Evaluation loss", "eval_loss")):
        lines = []
        for i, one in enumerate(candidates):
            course = one.run.series[key]
            thin = max(1, -(-len(course) // POINTS))
            kept = course[::thin]
            if kept:
                xs, ys = zip(*kept, strict=True)
                colour = COLOURS[i % len(COLOURS)]
                lines.append({"label": one.name, "colour": colour, "x": xs, "y": ys})
        if lines:
            charts.append({"title": title, "unit": "", "lines": lines})
    return charts


def _panel(found: Tradeoffs, cost: str) -> str:
    listed = points(found, cost)
    log = max(x for _, x, *_ in listed) / min(x for _, x, *_ in listed) > 5
    xs = [math.log(spent) if log else spent for _, spent, _, _ in listed]
    ys = [end for *_, ends in listed for end in ends]

    def across(at: float) -> float:
        share = (at - min(xs)) / ((max(xs) - min(xs)) or 1)
        return LEFT + 16 + share * (WIDTH - LEFT - 110)

    def down(at: float) -> float:
        share = (at - min(ys)) / ((max(ys) - min(ys)) or 1)
        return 14 + (1 - share) * (HEIGHT - BELOW - 28)

    drawn = []
    front = found.fronts[cost]
    dots = [(one[0], x, down(one[2])) for one, x in zip(listed, map(across, xs), strict=True)]
    written = _names(dots, front)
    for (name, spent, figure, (low, high)), (_, x, _) in zip(listed, dots, strict=True):
        kind = "best" if name in front else "other"
        amount = numbers.value(spent) if cost in UNITS else numbers.size(spent)
        drawn.append(
            f'<g class="{kind}"><path d="M{x:.1f} {down(low):.1f}V{down(high):.1f}"/>'
            f'<circle cx="{x:.1f}" cy="{down(figure):.1f}" r="5"><title>{words(name)}: '
            f"{words(amount)}, {numbers.value(figure)}</title></circle>"
            f"{written[name]}</g>"
        )
    ticks = "".join(
        f'<text class="quiet" x="{LEFT - 4}" y="{down(at) + 4:.1f}" text-anchor="end">'
        f"{numbers.value(at)}</text>"
        for at in dict.fromkeys((min(ys), max(ys)))
    )
    ends = [min(listed, key=lambda each: each[1]), max(listed, key=lambda each: each[1])]
    for _, spent, _, _ in ends if ends[0][1] != ends[1][1] else ends[:1]:
        amount = numbers.value(spent) if cost in UNITS else numbers.size(spent)
        x = across(math.log(spent) if log else spent)
        ticks += (
            f'<text class="quiet" x="{x:.1f}" y="{HEIGHT - BELOW + 12}" text-anchor="middle">'
            f"{words(amount)}</text>"
        )
    unit = f" ({UNITS[cost]})" if cost in UNITS else ""
    scale = ", log scale" if log else ""
    return (
        f'<figure><svg class="panel" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label='
        f'"{words(found.metric)} by {words(cost)}"><path class="axis" d="M{LEFT} 6V{HEIGHT - BELOW}'
        f'H{WIDTH}"/>{ticks}{"".join(drawn)}<text class="quiet" x="{LEFT}" y="{HEIGHT - 4}">'
        f"{words(cost)}{unit}{scale}</text></svg></figure>"
    )


def _names(dots: list[tuple[str, float, float]], front: tuple[str, ...]) -> dict[str, str]:
    """The names beside their dots, those on the front first; empty where there is no room."""
    ordered = sorted(dots, key=lambda dot: dot[0] not in front)
    places = names([(name, x - LEFT, y) for name, x, y in ordered], FRAME)
    written = dict.fromkeys([name for name, _, _ in ordered], "")
    for (name, _, _), place in zip(ordered, places, strict=True):
        if place is not None:
            anchor = ' text-anchor="end"' if place.end else ""
            at = f'x="{LEFT + place.x:.1f}" y="{place.y:.1f}"'
            written[name] = f"<text {at}{anchor}>{words(place.text)}</text>"
    return written
