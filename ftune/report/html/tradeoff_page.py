"""Many runs on one page: table, cost against quality, and their losses on one chart."""

from __future__ import annotations

import math

from ftune.report import numbers
from ftune.report.html.frame import SWITCH, document
from ftune.report.html.pieces import section, table, words
from ftune.report.tradeoff_picture import UNITS, drawable, points
from ftune.report.tradeoffs import COSTS, Candidate, Tradeoffs

COLOURS = ("a", "b", "c", "good", "bad", "quiet")  # of curves, by turns
POINTS = 1000  # of one curve
WIDTH, HEIGHT, LEFT, BELOW = 440, 260, 58, 34


def tradeoff_page(found: Tradeoffs) -> str:
    """The page; ``found``'s runs must have been gathered whole for their curves."""
    panels = "".join(_panel(found, cost) for cost in drawable(found))
    notes = "".join(f"<li>{words(note)}</li>" for note in found.notes)
    charts = _charts(found.candidates)
    title = f"{len(found.candidates)} runs compared"
    parts = [
        f'<header><div class="bar"><h1>{title}</h1>{SWITCH}</div></header>',
        section("notes", "Notes", f'<ul class="warnings">{notes}</ul>' if notes else ""),
        section("table", "Cost and quality", _table(found)),
        section(
            "pareto",
            "Trade-offs",
            f'<div class="panels">{panels}</div>' if panels else "",
            "Orange: no other run is cheaper and as good, or better and as cheap. Lines: 95% "
            "intervals.",
        ),
        section("curves", "Curves", '<div id="charts"></div>' if charts else ""),
    ]
    body = "\n".join(part for part in parts if part)
    return document(title, body, {"charts": charts, "predictions": []})


def heads(found: Tradeoffs) -> tuple[str, ...]:
    """Heads of the table, the same here and on a screen."""
    metric = (found.metric, "95% interval") if found.metric else ()
    return ("run", "method", *(name for name, _, _ in COSTS), "tokens/s", *metric)


def row(found: Tradeoffs, one: Candidate) -> tuple[str, ...]:
    """A run's line of the table, as plain text."""
    costs = [numbers.figure(key, one.costs[name]) for name, _, key in COSTS]
    score = one.score(found.metric)
    figures: tuple[str, ...] = ()
    if found.metric:
        figures = (
            numbers.value(score.tuned if score else None),
            numbers.interval(score.tuned_interval if score else None),
        )
    return (one.name, one.run.method, *costs, numbers.value(one.speed), *figures)


def _table(found: Tradeoffs) -> str:
    rows = [[words(cell) for cell in row(found, one)] for one in found.candidates]
    return table([words(head) for head in heads(found)], rows, right=range(2, 9))


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
    for (name, spent, figure, (low, high)), x in zip(listed, map(across, xs), strict=True):
        kind = "best" if name in found.fronts[cost] else "other"
        amount = numbers.value(spent) if cost in UNITS else numbers.size(spent)
        drawn.append(
            f'<g class="{kind}"><path d="M{x:.1f} {down(low):.1f}V{down(high):.1f}"/>'
            f'<circle cx="{x:.1f}" cy="{down(figure):.1f}" r="5"><title>{words(name)}: '
            f"{words(amount)}, {numbers.value(figure)}</title></circle>"
            f'<text x="{x + 9:.1f}" y="{down(figure) - 5:.1f}">{words(name)}</text></g>'
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
