"""The same rows with perturbed questions: what a model's figures lose by small changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ftune.run import atomic
from ftune.run.progress import Progress
from ftune.run.signals import StopFlag
from ftune.stages.measuring import measured
from ftune.stages.perturbed import Perturbed
from ftune.stages.testing import Asking
from ftune.types import Metric, Prediction

NAME = "robustness.jsonl"
WORST = "worst case"


def told(sets: Sequence[Perturbed]) -> dict[str, dict[str, int]]:
    """Of each kind the rows that were asked, how many were changed, and how many did not fit."""
    return {
        one.kind: {
            "rows": len(one.rows.prompts),
            "changed": one.changed,
            "dropped": one.rows.ledger["bad"] + sum(one.rows.ledger["dropped"].values()),
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
        # A mean is one number for each row over as many ones.
        if any(len(values) != 2 or values[1] != 1 for values in metric.rows.values):
            continue
        alone = [float(metric.rows.combine(list(values))) for values in metric.rows.values]
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
