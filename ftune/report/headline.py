"""A run in one sentence: what got better or worse, and by how much."""

from __future__ import annotations

from collections import Counter

from ftune.report.ending import reason
from ftune.report.forgetting import lost
from ftune.report.gather import Gathered
from ftune.report.numbers import duration, interval, signed, value
from ftune.report.scores import Score
from ftune.report.tolerant import number
from ftune.report.verdict import UNSEEN, UNTESTED

LONGEST = 140  # characters of an error; the pages have all of it elsewhere

# What is said of a metric's verdict if it is the only one, and if it is one of several.
ALONE = {
    "better": "that is better",
    "worse": "that is worse",
    "higher": "that is a difference",
    "lower": "that is a difference",
    UNSEEN: UNSEEN,
    UNTESTED: "the difference was not tested",
}
AMONG = {
    "better": "better",
    "worse": "worse",
    "higher": "higher",
    "lower": "lower",
    UNSEEN: f"with {UNSEEN}",
    UNTESTED: UNTESTED,
}


def headline(run: Gathered) -> str:
    """One sentence; it claims no more than the files of the run say."""
    if run.state == "failed":
        why = reason(run).partition("\n")[0]
        if len(why) > LONGEST:
            why = f"{why[:LONGEST].rstrip()} …"
        return f"The run failed{_after(run)}: {why or 'run.json does not say why'}"
    if run.state in {"interrupted", "killed"}:
        how = "was interrupted" if run.state == "interrupted" else "ended without a word (killed?)"
        return f"The run {how}{_after(run)}; the same command goes on from where it was."
    sentence = _evaluated(run) or _trained(run)
    if run.state == "running":
        sentence = _evaluated(run) or _trained(run, " so far")
        sentence = sentence.replace("Training loss", "training loss", 1)
        return f"The run is under way{': ' + sentence if sentence else '.'}"
    return sentence or "Nothing was trained or evaluated."


def _evaluated(run: Gathered) -> str:
    scores = [s for s in run.scores if s.tuned is not None or s.base is not None]
    if not scores:
        return ""
    # Those of the test rows as they are; the others only where there is nothing else.
    scores = [s for s in scores if not s.aside] or scores
    main = next((s for s in scores if s.change is not None), scores[0])
    rows = number(run.figures("evaluate").get("rows"))
    where = f" on {value(rows)} test rows" if rows else ""
    if main.change is None:
        figure = main.tuned if main.tuned is not None else main.base
        if run.evaluation:
            sure = f" (95%: {interval(main.tuned_interval)})" if main.tuned_interval else ""
            return f"{main.name} is {value(figure)}{sure}{where}."
        return f"{main.name} is {value(figure)}{where}; there is nothing to compare it with."
    gone = lost(run)
    also = f"; what the base was good at is partly lost: {', '.join(gone)}" if gone else ""
    told = _verdict([s for s in scores if s.change is not None])
    return f"{_moved(main)}{where}; {told}{also}."


def _moved(score: Score) -> str:
    if not score.change:
        return f"{score.name} stayed at {value(score.tuned)}"
    sure = score.verdict not in (UNSEEN, UNTESTED)
    verb = ("rose" if score.change > 0 else "fell") if sure else "went"
    figures = f"{value(score.base)} to {value(score.tuned)} ({signed(score.change)})"
    return f"{score.name} {verb} from {figures}"


def _verdict(scores: list[Score]) -> str:
    counts = Counter(score.verdict for score in scores)
    if len(scores) == 1:
        return ALONE[scores[0].verdict]
    if counts["better"] == len(scores):
        return (
            f"{'both' if len(scores) == 2 else f'all {len(scores)}'} metrics are better than before"
        )
    words = [f"{counts[word]} {said}" for word, said in AMONG.items() if counts[word]]
    return f"of {len(scores)} metrics, {', '.join(words)}"


def _trained(run: Gathered, ended: str = "; not evaluated") -> str:
    figures = run.figures("train")
    course = run.series["loss"]
    first = course[0][1] if course else None
    last = number(figures.get("final_loss")) or (course[-1][1] if course else None)
    steps = number(figures.get("steps"))
    within = f" in {value(steps)} steps" if steps else ""
    if first is None or last is None:
        return f"Trained{within}{ended}." if within else ""
    verb = "fell" if last < first else "rose" if last > first else "went"
    return f"Training loss {verb} from {value(first)} to {value(last)}{within}{ended}."


def _after(run: Gathered) -> str:
    seconds = number(run.facts.get("seconds"))
    return f" after {duration(seconds)}" if seconds else ""
