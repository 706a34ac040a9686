"""A run in one sentence: what got better or worse, and by how much."""

from __future__ import annotations

from ftune.report.gather import Gathered
from ftune.report.numbers import duration, signed, value
from ftune.report.scores import Score
from ftune.report.tolerant import number, text


def headline(run: Gathered) -> str:
    """One sentence; it claims no more than the files of the run say."""
    if run.state == "failed":
        reason = text(run.facts.get("error")).partition("\n")[0]
        return f"The run failed{_after(run)}: {reason or 'run.json does not say why'}"
    if run.state in {"interrupted", "killed"}:
        how = "was interrupted" if run.state == "interrupted" else "ended without a word (killed?)"
        return f"The run {how}{_after(run)}; the same command goes on from where it was."
    sentence = _evaluated(run) or _trained(run)
    if run.state == "running":
        return f"The run is under way{': ' + sentence if sentence else '.'}"
    return sentence or "Nothing was trained or evaluated."


def _evaluated(run: Gathered) -> str:
    scores = [s for s in run.scores if s.tuned is not None or s.base is not None]
    if not scores:
        return ""
    main = next((s for s in scores if s.change is not None), scores[0])
    rows = number(run.figures("evaluate").get("rows"))
    where = f" on {value(rows)} test rows" if rows else ""
    if main.change is None:
        figure = main.tuned if main.tuned is not None else main.base
        return f"{main.name} is {value(figure)}{where}; there is nothing to compare it with."
    return f"{_moved(main)}{where}; {_verdict([s for s in scores if s.change is not None])}."


def _moved(score: Score) -> str:
    if not score.change:
        return f"{score.name} stayed at {value(score.tuned)}"
    verb = "rose" if score.change > 0 else "fell"
    figures = f"{value(score.base)} to {value(score.tuned)} ({signed(score.change)})"
    return f"{score.name} {verb} from {figures}"


def _verdict(scores: list[Score]) -> str:
    better = sum(s.better is True for s in scores)
    worse = sum(s.better is False for s in scores)
    if len(scores) == 1:
        return "that is better" if better else "that is worse" if worse else "nothing changed"
    if not worse and better == len(scores):
        return f"{'both' if better == 2 else f'all {better}'} metrics are better than before"
    parts = [f"{better} better", f"{worse} worse", f"{len(scores) - better - worse} unchanged"]
    return f"of {len(scores)} metrics, " + ", ".join(p for p in parts if not p.startswith("0 "))


def _trained(run: Gathered) -> str:
    figures = run.figures("train")
    course = run.series["loss"]
    first = course[0][1] if course else None
    last = number(figures.get("final_loss")) or (course[-1][1] if course else None)
    steps = number(figures.get("steps"))
    within = f" in {value(steps)} steps" if steps else ""
    if first is None or last is None:
        return f"Trained{within}; not evaluated." if within else ""
    verb = "fell" if last < first else "rose" if last > first else "went"
    return f"Training loss {verb} from {value(first)} to {value(last)}{within}; not evaluated."


def _after(run: Gathered) -> str:
    seconds = number(run.facts.get("seconds"))
    return f" after {duration(seconds)}" if seconds else ""
