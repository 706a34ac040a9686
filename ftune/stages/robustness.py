"""The same rows with perturbed questions: what a model's figures lose by small changes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.recipe.view import View
from ftune.run import atomic
from ftune.run.progress import Progress
from ftune.run.signals import StopFlag
from ftune.run.stage import Place
from ftune.stages.rows import ledger_of, rows_of
from ftune.stages.testing import Asking, TestSet, rendered
from ftune.stages.testing import measure as measured
from ftune.types import Example, Metric, Prediction

if TYPE_CHECKING:
    from ftune.data.collect import Taken

NAME = "robustness.jsonl"
WORST = "worst case"


@dataclass(frozen=True)
class Perturbed:
    """The rows with one kind of changes; ``changed`` of them are another question than before."""

    kind: str
    rows: TestSet
    changed: int


def told(sets: Sequence[Perturbed]) -> dict[str, dict[str, int]]:
    """Of each kind the rows that were asked, how many were changed, and how many did not fit."""
    return {
        one.kind: {
            "rows": len(one.rows.prompts),
            "changed": one.changed,
            "dropped": sum(one.rows.ledger["dropped"].values()),
        }
        for one in sets
    }


def warnings(sets: Sequence[Perturbed], plain: int) -> list[str]:
    """What is to be known of figures that stand beside those of ``plain`` rows."""
    found = []
    for one in sets:
        rows = len(one.rows.prompts)
        if not one.changed:
            found.append(
                f"evaluate.robustness: {one.kind} changed none of {rows:,} questions, so "
                "its figures are those of the rows as they are; leave it out"
            )
        if rows < plain:
            found.append(
                f"evaluate.robustness: {plain - rows:,} of {plain:,} rows are too long with "
                f"{one.kind} and are missing from its figures; raise data.max_length"
            )
    return found


@dataclass(frozen=True)
class Held:
    """Figures on perturbed rows, the worst over all of them, and what was answered, by kind."""

    metrics: Sequence[Metric] = ()
    predictions: Mapping[str, Sequence[Prediction]] = field(default_factory=dict)


def prepare(recipe: View, split: str, template: Any, place: Place) -> list[Perturbed]:
    """The rows of a split once for each kind of ``evaluate.robustness``.

    Raises:
        DataError: a row can't be read, or none is left.
    """
    found = []
    for kind in recipe.evaluate.robustness:
        ledger = ledger_of(recipe, split)
        changes: list[bool] = []
        taken = _changed(rows_of(recipe, split, place, ledger), kind, recipe.train.seed, changes)
        rows = rendered(taken, recipe, template, ledger, f"evaluate.robustness ({kind})")
        found.append(Perturbed(kind, rows, sum(changes)))
    return found


def _changed(taken: Iterator[Taken], kind: str, seed: int, changes: list[bool]) -> Iterator[Taken]:
    for one in taken:
        example = with_question(one.example, kind, f"{seed}:{one.source}:{one.row}")
        changes.append(example != one.example)
        yield replace(one, example=example)


def with_question(example: Example, kind: str, seed: str) -> Example:
    """The example with its last question perturbed; demonstrations, earlier turns and what is right
    stay as they are."""
    from ftune.evaluate.perturbing import perturbed

    places = [i for i, m in enumerate(example.messages) if m.role == "user" and not m.shown]
    if not places:
        return example
    asked = example.messages[places[-1]]
    before = asked.content[: len(asked.content) - len(asked.own)]
    content = before + perturbed(asked.own, kind, seed)
    context = perturbed(asked.context, kind, f"{seed}:context")
    messages = list(example.messages)
    messages[places[-1]] = replace(asked, content=content, context=context)
    return replace(example, messages=tuple(messages))


def measure(
    model: Any,
    tokenizer: Any,
    sets: Sequence[Perturbed],
    asking: Asking,
    plain: tuple[Sequence[Prediction], Sequence[Metric]],
    progress: Progress,
    stop: StopFlag,
) -> Held:
    """The figures on each set, and of each row's worst; ``plain`` is what came of the rows as they
    are."""
    found: list[Metric] = []
    answers: dict[str, Sequence[Prediction]] = {}
    every = [_by_row(*plain)]
    for one in sets:
        progress.say(f"robustness: {one.kind}")
        answers[one.kind], metrics = measured(model, tokenizer, one.rows, asking, progress, stop)
        every.append(_by_row(answers[one.kind], metrics))
        added = f"|perturbed:{one.kind}"
        found += [
            replace(m, name=f"{m.name} ({one.kind})", signature=m.signature + added)
            for m in metrics
        ]
    kinds = "+".join(("plain", *(one.kind for one in sets)))
    worst = [_worst(metric, every, kinds) for metric in plain[1]] if sets else []
    return Held([*found, *(one for one in worst if one is not None)], answers)


Where = tuple[str, int]
ByRow = dict[str, dict[Where, float]]  # of each metric the figure of each row


def _by_row(predictions: Sequence[Prediction], metrics: Sequence[Metric]) -> ByRow:
    """What each row alone scores, of those metrics that are means over rows."""
    places = [(p.source, p.row) for p in predictions]
    found: ByRow = {}
    for metric in metrics:
        if metric.rows is None or metric.higher_is_better is None:
            continue
        try:
            alone = [float(metric.rows.combine(list(values))) for values in metric.rows.values]
        except ZeroDivisionError:
            continue
        if abs(sum(alone) / len(alone) - metric.value) <= 1e-9 * max(1.0, abs(metric.value)):
            found[metric.name] = dict(zip(places, alone, strict=True))
    return found


def _worst(metric: Metric, every: Sequence[ByRow], kinds: str) -> Metric | None:
    """The mean over rows of the worst that a row scores, plain or perturbed (HELM); None where the
    metric is no mean over rows. A row that was dropped somewhere counts where it is there."""
    from ftune.evaluate.rowwise import mean

    if any(metric.name not in one for one in every):
        return None
    take = min if metric.higher_is_better else max
    rows = [take(one[metric.name][p] for one in every if p in one[metric.name])
            for p in every[0][metric.name]]  # fmt: skip
    return replace(
        metric,
        name=f"{metric.name} ({WORST})",
        value=sum(rows) / len(rows),
        signature=f"{metric.signature}|worst-of:{kinds}",
        rows=mean(rows),
    )


def write(folder: Path, tuned: Held, base: Held) -> None:
    """Writes what was answered to perturbed questions, if any were asked."""
    from ftune.evaluate.predictions import line

    lines = []
    for kind, said in tuned.predictions.items():
        before = base.predictions.get(kind, ())
        lines += [
            json.dumps({"perturbation": kind, **json.loads(line(a, b))}, ensure_ascii=False)
            for a, b in zip_longest(said, before)
        ]
    if lines:
        atomic.write_text(folder / NAME, "\n".join(lines) + "\n")
