"""A sweep side by side: what became of each point, what it cost and how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.report import numbers
from ftune.report.gather import Gathered
from ftune.report.scores import Score
from ftune.report.tolerant import number, plain
from ftune.report.tradeoffs import tradeoffs

VERSION = 1  # of sweep.json; raised when a key changes its meaning
OTHERS = 4  # metrics besides the main one that a screen has room for


@dataclass(frozen=True)
class Spot:
    """A point: its values by key, and what became of it.

    ``state`` is done, failed, interrupted, or not reached; only a point that is done has a run.
    """

    label: str
    values: Mapping[str, Any]
    state: str
    command: str  # runs this point alone
    folder: Path | None = None
    error: str | None = None
    run: Gathered | None = None

    @property
    def scores(self) -> tuple[Score, ...]:
        """Its metrics; where nothing was evaluated, the loss of the training."""
        if self.run is None:
            return ()
        found = tuple(score for score in self.run.scores if score.tuned is not None)
        return found or _losses(self.run.figures("train"))

    def score(self, metric: str) -> Score | None:
        """Its score by a metric's name."""
        return next((score for score in self.scores if score.name == metric), None)

    def cost(self, stage: str, key: str) -> float | None:
        """A figure of one of its stages."""
        return number(self.run.figures(stage).get(key)) if self.run else None


def _losses(figures: Mapping[str, Any]) -> tuple[Score, ...]:
    for name, key in (("eval_loss", "best_loss"), ("training loss", "final_loss")):
        found = number(figures.get(key))
        if found is not None:
            return (Score(name, None, found, "nats/token", higher_is_better=False),)
    return ()


@dataclass(frozen=True)
class Swept:
    """All points of a sweep in their order, and the metric that they are judged by."""

    name: str
    folder: Path
    spots: tuple[Spot, ...]
    metric: str
    metrics: tuple[str, ...]
    notes: tuple[str, ...]

    def of(self, state: str) -> tuple[Spot, ...]:
        """The points of that state."""
        return tuple(spot for spot in self.spots if spot.state == state)

    @property
    def best(self) -> Spot | None:
        """The point with the best figure; None for a metric that is neither good nor bad."""
        found = [(spot, score) for spot in self.spots if (score := spot.score(self.metric))]
        if not found or found[0][1].higher_is_better is None:
            return None
        sign = 1 if found[0][1].higher_is_better else -1
        return max(found, key=lambda pair: sign * (pair[1].tuned or 0.0))[0]

    @property
    def doubt(self) -> str:
        """Of how many points the interval overlaps with that of the best; empty where of none."""
        best = self.best
        score = best.score(self.metric) if best else None
        if score is None or score.tuned_interval is None:
            return ""
        low, high = score.tuned_interval
        others = [spot.score(self.metric) for spot in self.spots if spot is not best]
        ends = [each.tuned_interval for each in others if each and each.tuned_interval]
        near = sum(a <= high and b >= low for a, b in ends)
        if not near:
            return ""
        return (
            f"The 95% intervals of {near} of the other {len(ends)} points overlap with that of the "
            "best; `ftune runs compare` tests whether two of them differ."
        )

    def to_plain(self) -> dict[str, Any]:
        """For sweep.json and ``--json``."""
        best = self.best
        return plain(
            {
                "version": VERSION,
                "name": self.name,
                "metric": self.metric,
                "best": best.label if best else None,
                "doubt": self.doubt,
                "points": [_plain(spot) for spot in self.spots],
                "notes": self.notes,
            }
        )


def _plain(spot: Spot) -> dict[str, Any]:
    return {
        "label": spot.label,
        "values": spot.values,
        "state": spot.state,
        "run": str(spot.folder) if spot.folder else None,
        "error": spot.error,
        "command": spot.command,
        "trainable": spot.cost("load", "trainable"),
        "seconds": spot.cost("train", "seconds"),
        "peak_memory_bytes": spot.cost("train", "peak_memory_bytes"),
        "adapter_bytes": spot.cost("train", "adapter_bytes"),
        "metrics": [score.to_plain() for score in spot.scores],
    }


def swept(name: str, folder: Path, spots: Sequence[Spot], metric: str | None = None) -> Swept:
    """Puts the points together, judged by ``metric``, or by the first that most of them have."""
    names = [score.name for spot in spots for score in spot.scores]
    known = tuple(dict.fromkeys(names))
    chosen = metric if metric in known else max(known, key=names.count, default="")
    notes = []
    if metric and metric not in known and known:
        notes.append(f"{metric}: no point has such a metric; there are {', '.join(known)}")
    runs = [spot.run for spot in spots if spot.run]
    if chosen and any(score.name == chosen for run in runs for score in run.scores):
        # Its last note is of fronts, which nobody speaks of here.
        notes += tradeoffs(runs, chosen).notes[:-1]
    return Swept(name, folder, tuple(spots), chosen, known, tuple(notes))


def headline(found: Swept) -> str:
    """What came of the sweep, in one sentence."""
    done, best = len(found.of("done")), found.best
    said = f"{done} of {len(found.spots)} points are done"
    if failed := len(found.of("failed")):
        said += f", {failed} failed"
    if best is None:
        return f"{said}."
    score = best.score(found.metric)
    figure = numbers.value(score.tuned if score else None)
    scores = [spot.score(found.metric) for spot in found.spots if spot is not best]
    alike = sum(other.tuned == score.tuned for other in scores if other and score)
    also = f" (and at {alike} other{'s' * (alike > 1)})" if alike else ""
    return f"{said}; {found.metric} is best at {best.label}{also}: {figure}."


def heads(found: Swept, whole: bool = False) -> tuple[str, ...]:
    """Heads of the table; a ``whole`` one has all metrics with their intervals."""
    keys = tuple(found.spots[0].values)
    last = tuple(key.rpartition(".")[2] for key in keys)
    shown = last if len(set(last)) == len(last) else keys
    state = () if len(found.of("done")) == len(found.spots) else ("state",)
    main = (found.metric, "95% interval") if found.metric else ()
    return (*shown, *state, "trainable", "peak memory", "time", *main, *_others(found, whole))


def _others(found: Swept, whole: bool) -> tuple[str, ...]:
    names = [name for name in found.metrics if name != found.metric]
    return tuple(names if whole else names[:OTHERS])


def row(found: Swept, spot: Spot, whole: bool = False) -> tuple[str, ...]:
    """A point's line of the table, as plain text."""
    state = () if len(found.of("done")) == len(found.spots) else (spot.state,)
    costs = (
        numbers.value(spot.cost("load", "trainable")),
        numbers.size(spot.cost("train", "peak_memory_bytes")),
        numbers.duration(spot.cost("train", "seconds")),
    )
    cells = [*(shown(value) for value in spot.values.values()), *state, *costs]
    if found.metric:
        score = spot.score(found.metric)
        cells.append(numbers.value(score.tuned if score else None))
        cells.append(numbers.interval(score.tuned_interval if score else None))
    for name in _others(found, whole):
        score = spot.score(name)
        cells.append(numbers.value(score.tuned if score else None))
        if whole and score and score.tuned_interval:
            cells[-1] += f" ({numbers.interval(score.tuned_interval)})"
    return tuple(cells)


def shown(value: Any) -> str:
    """A value of a key as a table has it."""
    import json

    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
