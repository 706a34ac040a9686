"""Many runs side by side: what each costs and how good it is, and which none beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ftune.errors import RunError
from ftune.report.compare import tested_on
from ftune.report.gather import Gathered
from ftune.report.scores import Score
from ftune.report.tolerant import number, plain

# What a run costs: name, stage, key of its figures. Less is better.
COSTS = (
    ("trainable", "load", "trainable"),
    ("peak memory", "train", "peak_memory_bytes"),
    ("training time", "train", "seconds"),
    ("size on disk", "train", "adapter_bytes"),
)


@dataclass(frozen=True)
class Candidate:
    """A run with its costs, by their name, and its scores; None for what isn't known."""

    run: Gathered
    costs: dict[str, float | None]

    @property
    def name(self) -> str:
        """As ``ftune runs`` names it."""
        return f"{self.run.name}/{self.run.id}"

    @property
    def speed(self) -> float | None:
        """Tokens per second of the training."""
        return number(self.run.figures("train").get("tokens_per_second"))

    def score(self, metric: str) -> Score | None:
        """Its score by a metric's name."""
        return next((score for score in self.run.scores if score.name == metric), None)


@dataclass(frozen=True)
class Tradeoffs:
    """Candidates, the metric they are judged by, and for each cost the names on its front."""

    candidates: tuple[Candidate, ...]
    metric: str
    fronts: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """For ``--json``."""
        runs = [
            {
                "run": one.name,
                "method": one.run.method,
                "costs": one.costs,
                "tokens_per_second": one.speed,
                "metrics": [score.to_plain() for score in one.run.scores],
            }
            for one in self.candidates
        ]
        named = {"runs": runs, "metric": self.metric, "pareto": self.fronts}
        return plain({**named, "notes": self.notes})


def tradeoffs(runs: Sequence[Gathered], metric: str | None = None) -> Tradeoffs:
    """Compares runs by ``metric``, or the first that most of them have.

    Raises:
        RunError: no run has a metric of that name; the message names those there are.
    """
    candidates = tuple(Candidate(run, _costs(run)) for run in runs)
    names = [s.name for run in runs for s in run.scores if s.tuned is not None]
    known = list(dict.fromkeys(names))
    if metric and metric not in known:
        there = f"there are {', '.join(known)}" if known else "none of them was evaluated"
        raise RunError(f"{metric}: no metric of these runs; {there}")
    chosen = metric or max(known, key=names.count, default="")
    fronts = {name: front(candidates, name, chosen) for name, _, _ in COSTS}
    return Tradeoffs(candidates, chosen, fronts, _notes(candidates, chosen))


def front(candidates: Sequence[Candidate], cost: str, metric: str) -> tuple[str, ...]:
    """Names of those that no other matches in one and beats in the other, cheapest first.

    Empty for a metric that is neither good nor bad.
    """
    points = []
    for one in candidates:
        score, spent = one.score(metric), one.costs[cost]
        if score is None or score.tuned is None or spent is None:
            continue
        if score.higher_is_better is None:
            return ()
        points.append((spent, score.tuned * (1 if score.higher_is_better else -1), one.name))
    best = [
        (spent, name)
        for spent, good, name in points
        if not any(s <= spent and g >= good and (s, g) != (spent, good) for s, g, _ in points)
    ]
    return tuple(name for _, name in sorted(best))


def _costs(run: Gathered) -> dict[str, float | None]:
    return {name: number(run.figures(stage).get(key)) for name, stage, key in COSTS}


def _notes(candidates: Sequence[Candidate], metric: str) -> tuple[str, ...]:
    notes = [
        f"{one.name} is {one.run.state}: its figures may not be its last"
        for one in candidates
        if one.run.state != "done"
    ]
    scored = [(one, score) for one in candidates if (score := one.score(metric))]
    missing = [one.name for one in candidates if not one.score(metric)]
    if missing and metric:
        notes.append(f"{', '.join(missing)}: no {metric}, so on no front")
    if len({score.signature for _, score in scored}) > 1:
        notes.append(f"{metric} has other signatures in some runs: not comparable")
    if any(tested_on(one.run) != tested_on(scored[0][0].run) for one, _ in scored[1:]):
        notes.append("the test rows differ, so the metrics are not comparable")
    if metric:
        notes.append(
            "a front is of the figures as they are: where intervals overlap, compare two runs to "
            "see whether they differ"
        )
    return tuple(notes)
