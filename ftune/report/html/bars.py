"""Before and after as bars with their intervals, and the figures beside them."""

from __future__ import annotations

from ftune.report import numbers
from ftune.report.forgetting import kept
from ftune.report.gather import Gathered
from ftune.report.html.pieces import folded, section, table, words
from ftune.report.scores import Interval, Score
from ftune.report.tolerant import mapping, number
from ftune.report.verdict import LEVEL

WIDTH, BAR, GAP = 260, 12, 5  # of a picture, in its own units
HEADS = ("metric", "", "before", "after", "change", "p", "verdict")


def before_and_after(run: Gathered) -> str:
    """The section; empty for a run without an evaluation."""
    if not run.scores:
        return ""
    figures = run.figures("evaluate")
    rows = number(figures.get("rows"))
    draws = number(mapping(figures.get("bootstrap")).get("resamples"))
    note = f"On {numbers.value(rows)} test rows. " if rows else ""
    if draws:
        note += (
            f"Whiskers: 95% intervals by percentile bootstrap over rows, {draws:,} draws. p: "
            f"paired approximate randomization; a difference counts as seen below {LEVEL}. "
        )
    if any(score.unit == "%" for score in run.scores):
        note += "Bars of percentages are drawn on a scale to 100, others to the largest figure."
    if run.evaluation and all(score.base is None for score in run.scores):
        alone = [(row[0], row[1], row[3]) for row in map(_row, run.scores)]
        return section("metrics", "Figures", table(("metric", "", "figure"), alone, (2,)), note)
    made = _table([score for score in run.scores if not score.perturbed])
    if perturbed := [score for score in run.scores if score.perturbed]:
        made += folded(f"Asked in perturbed words ({len(perturbed)})", _table(perturbed))
    lines = "".join(f'<p class="parting">{words(line)}</p>' for line in kept(run))
    return section("metrics", "Before and after", made + lines, note)


def _table(scores: list[Score]) -> str:
    return table(HEADS, [_row(score) for score in scores], right=(2, 3, 4, 5))


def _row(score: Score) -> tuple[str, ...]:
    unit = f' <span class="quiet">{words(score.unit)}</span>' if score.unit else ""
    verdict = words(score.verdict)
    kind = {"better": "good", "worse": "bad"}.get(score.verdict, "plain")
    return (
        f'<b title="{words(score.signature)}">{words(score.name)}</b>{unit}',
        _picture(score),
        _figure(score.base, score.base_interval),
        _figure(score.tuned, score.tuned_interval),
        words(numbers.signed(score.change)),
        words(numbers.chance(score.p)),
        f'<span class="badge {kind}">{verdict}</span>' if verdict else "",
    )


def _figure(value: float | None, ends: Interval | None) -> str:
    within = f'<small class="quiet">{words(numbers.interval(ends))}</small>' if ends else ""
    return f"{words(numbers.value(value))}{within}"


def _picture(score: Score) -> str:
    pairs = (
        ("before", score.base, score.base_interval),
        ("after", score.tuned, score.tuned_interval),
    )
    shown = [(name, value, ends) for name, value, ends in pairs if value is not None]
    reach = [0.0, *(value for _, value, _ in shown), *(e for *_, ends in shown for e in ends or ())]
    if score.unit == "%":
        reach.append(100.0)  # else a few percent would look like all
    low, high = min(reach), max(reach)
    if not shown or high == low:
        return ""
    scale = (WIDTH - 4) / (high - low)
    height = len(shown) * (BAR + GAP) + GAP
    drawn = "".join(
        _bar(name, value, ends, GAP + i * (BAR + GAP), low, scale)
        for i, (name, value, ends) in enumerate(shown)
    )
    said = "; ".join(f"{name} {numbers.value(value)}" for name, value, _ in shown)
    return (
        f'<svg class="bars" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{words(score.name)}: {words(said)}">{drawn}</svg>'
    )


def _bar(name: str, value: float, ends: Interval | None, top: int, low: float, scale: float) -> str:
    def x(at: float) -> float:
        return 2 + (at - low) * scale

    left, right = sorted((x(0.0), x(value)))
    middle = top + BAR / 2
    drawn = (
        f'<rect class="{name}" x="{left:.1f}" y="{top}" width="{max(1.0, right - left):.1f}" '
        f'height="{BAR}" rx="2"/>'
    )
    if ends:
        a, b = x(ends[0]), x(ends[1])
        drawn += (
            f'<path class="whisker" d="M{a:.1f} {middle}H{b:.1f}M{a:.1f} {middle - 3}v6'
            f'M{b:.1f} {middle - 3}v6"/>'
        )
    return drawn
