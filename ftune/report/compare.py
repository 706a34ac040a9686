"""Two runs side by side: what was asked differently, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftune.report import verdict
from ftune.report.gather import Gathered
from ftune.report.scores import Score
from ftune.report.tolerant import mapping, number, plain

NOISE = 0.05  # share by which a cost that was measured once may differ by itself
UNIMPORTANT = ("name", "runs_dir")  # recipe keys that change nothing in what is trained
# Figures put side by side: stage, key, and whether less of it is better (None: neither).
COSTS = (
    ("train", "final_loss", True),
    ("train", "best_loss", True),
    ("train", "steps", None),
    ("train", "trained_tokens", None),
    ("train", "tokens_per_second", False),
    ("train", "seconds", True),
    ("train", "peak_memory_bytes", True),
    ("load", "trainable", None),
    ("load", "parameters", None),
    ("load", "bytes", True),
    ("train", "adapter_bytes", True),
    ("evaluate", "rows", None),
    ("evaluate", "seconds", True),
    ("evaluate", "seconds_per_prompt", True),
    ("evaluate", "generated_tokens_per_second", False),
    ("evaluate", "prompt_tokens_per_second", False),
    ("evaluate", "peak_memory_bytes", True),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One key and its value in either run; None where it isn't there.

    A metric (``tested``) is better only if the test with the chance ``p`` saw a difference. A cost,
    such as seconds, was measured once: less than ``NOISE`` of a difference is none.
    """

    key: str
    a: Any
    b: Any
    higher_is_better: bool | None = None
    note: str = ""
    tested: bool = False
    p: float | None = None

    @property
    def change(self) -> float | None:
        """b less a, for figures."""
        a, b = number(self.a), number(self.b)
        return None if a is None or b is None else b - a

    @property
    def better(self) -> bool | None:
        """Whether b is better than a; None if that can't be said."""
        if not self.change or self.higher_is_better is None or self.note:
            return None
        if self.tested:
            return verdict.better(self.change, self.higher_is_better, self.p)
        if abs(self.change) < NOISE * abs(number(self.a) or 0):
            return None
        return (self.change > 0) == self.higher_is_better

    @property
    def verdict(self) -> str:
        """The same in words, or the note."""
        if self.note or self.change is None:
            return self.note
        if self.tested:
            return verdict.verdict(self.change, self.higher_is_better, self.p)
        return {True: "better", False: "worse", None: ""}[self.better]

    def to_plain(self) -> dict[str, Any]:
        """For ``--json``."""
        found = {"key": self.key, "a": self.a, "b": self.b, "change": self.change}
        found |= {"p": self.p} if self.tested else {}
        return plain({**found, "better": self.better, "note": self.note})


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two runs; ``notes`` say why figures may not be comparable."""

    a: str
    b: str
    recipe: tuple[Pair, ...]
    metrics: tuple[Pair, ...]
    figures: tuple[Pair, ...]
    notes: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """For ``--json``."""
        parts = {"recipe": self.recipe, "metrics": self.metrics, "figures": self.figures}
        pairs = {name: [pair.to_plain() for pair in part] for name, part in parts.items()}
        return {"a": self.a, "b": self.b, **pairs, "notes": list(self.notes)}


def compare(
    a: Gathered,
    b: Gathered,
    p: Mapping[str, float | None] | None = None,
    notes: Sequence[str] = (),
) -> Comparison:
    """Run ``b`` against run ``a``: recipe keys that differ, all metrics, loss, time, memory.

    ``p`` has the p-value of each metric of which the two runs' answers were tested against each
    other, row for row; ``notes`` say why others were not.
    """
    return Comparison(
        a=f"{a.name}/{a.id}",
        b=f"{b.name}/{b.id}",
        recipe=_recipes(a.recipe, b.recipe),
        metrics=_metrics(a.scores, b.scores, p or {}),
        figures=_figures(a, b),
        notes=(*_notes(a, b), *notes),
    )


def _recipes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Pair, ...]:
    left, right = dict(_flat(a)), dict(_flat(b))
    keys = [k for k in dict.fromkeys([*left, *right]) if k not in UNIMPORTANT]
    return tuple(Pair(k, left.get(k), right.get(k)) for k in keys if left.get(k) != right.get(k))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a recipe with their dotted paths; a list of plain values is one leaf."""
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from _flat(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        for index, each in enumerate(value):
            yield from _flat(each, f"{path}[{index}]")
    else:
        yield path, value


def _metrics(
    a: tuple[Score, ...], b: tuple[Score, ...], p: Mapping[str, float | None]
) -> tuple[Pair, ...]:
    left, right = {s.name: s for s in a}, {s.name: s for s in b}
    pairs = []
    for name in dict.fromkeys([*left, *right]):
        one, other = left.get(name), right.get(name)
        same = one is None or other is None or one.signature == other.signature
        known = one or other
        pairs.append(
            Pair(
                key=name,
                a=one.tuned if one else None,
                b=other.tuned if other else None,
                higher_is_better=known.higher_is_better if known else None,
                note="" if same else "other signature: not comparable",
                tested=True,
                p=p.get(name) if same else None,
            )
        )
    return tuple(pairs)


def _figures(a: Gathered, b: Gathered) -> tuple[Pair, ...]:
    pairs = [
        Pair(
            f"{stage}.{key}",
            a.figures(stage).get(key),
            b.figures(stage).get(key),
            None if less is None else not less,
        )
        for stage, key, less in COSTS
    ]
    whole = Pair("seconds", a.facts.get("seconds"), b.facts.get("seconds"), False)
    return tuple(p for p in (*pairs, whole) if p.a is not None or p.b is not None)


def _notes(a: Gathered, b: Gathered) -> tuple[str, ...]:
    notes = [
        f"{run.name}/{run.id} is {run.state}: its figures may not be its last"
        for run in (a, b)
        if run.state != "done"
    ]
    if a.scores and b.scores and tested_on(a) != tested_on(b):
        notes.append("the test rows differ, so the metrics are not comparable")
    return tuple(notes)


def tested_on(run: Gathered) -> list[Any]:
    """What decides on the test rows: their sources, or where a share of the training rows is
    taken, those and the seed."""
    data = mapping(run.recipe.get("data"))
    test = data.get("test")
    found = [test, run.figures("evaluate").get("rows")]
    if number(test) is not None:
        found += [data.get("train"), mapping(run.recipe.get("train")).get("seed")]
    return found
