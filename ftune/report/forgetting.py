"""What training took from what the base was good at, in words: a sentence for each retained set."""

from __future__ import annotations

from ftune.report.gather import Gathered
from ftune.report.numbers import value
from ftune.report.scores import RETAINED, Score
from ftune.report.verdict import UNSEEN


def kept(run: Gathered) -> tuple[str, ...]:
    """Sentences on the sets of ``evaluate.retain``; none where there are none, or no base."""
    return tuple(_sentence(name, scores) for name, scores in _sets(run).items())


def lost(run: Gathered) -> tuple[str, ...]:
    """The names of sets of which a figure is worse than before."""
    sets = _sets(run).items()
    return tuple(name for name, scores in sets if any(s.verdict == "worse" for s in scores))


def _sets(run: Gathered) -> dict[str, list[Score]]:
    sets: dict[str, list[Score]] = {}
    for score in run.scores:
        if score.name.endswith(RETAINED) and score.change is not None:
            name = score.name.removesuffix(RETAINED).partition("/")[0]
            sets.setdefault(name, []).append(score)
    return sets


def _sentence(name: str, scores: list[Score]) -> str:
    worse = [score for score in scores if score.verdict == "worse"]
    better = [score for score in scores if score.verdict == "better"]
    if worse:
        all_of = "all" if len(worse) == len(scores) else f"{len(worse)} of {len(scores)}"
        figures = f"{all_of} of its figures are worse" if len(scores) > 1 else "it is worse"
        return (
            f"{name}: partly lost. By the tests {figures} than before: {_listed(worse)}. Mix such "
            "rows into data.train, or train less."
        )
    if better:
        return f"{name}: kept, and better than before in {_listed(better)}."
    if all(score.verdict == UNSEEN for score in scores):
        return (
            f"{name}: no loss seen in {_listed(scores)}. That is not proof that nothing was lost: "
            "more rows see smaller differences."
        )
    return f"{name}: not tested: {_listed(scores)}."


def _listed(scores: list[Score]) -> str:
    return ", ".join(
        f"{score.name.removesuffix(RETAINED).partition('/')[2]} "
        f"{value(score.base)} to {value(score.tuned)}"
        for score in scores
    )
