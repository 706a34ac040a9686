"""Sets of rows that the base was good at: what the tuned model lost or kept of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ftune.recipe.view import View
from ftune.report import verdict
from ftune.run.progress import Progress
from ftune.run.signals import StopFlag
from ftune.run.stage import Place
from ftune.stages.testing import Asking, TestSet, Window, rendered
from ftune.stages.testing import measure as measured
from ftune.types import Metric

MARK = " (retained)"  # behind the names of figures


@dataclass(frozen=True)
class Set:
    """One set, rendered, and how it is asked."""

    name: str
    rows: TestSet
    asking: Asking


def identity(recipe: View, place: Place) -> dict[str, Any]:
    """sha256 or commit of each set's rows; nothing where there are none."""
    if not recipe.evaluate.retain:
        return {}
    from ftune.data.forming import identity as of

    return {"retain": [of(source, place.folder) for source in recipe.evaluate.retain]}


def prepare(recipe: View, tokenizer: Any, place: Place) -> list[Set]:
    """All sets, by the recipe's template and its way of generating.

    Raises:
        DataError: a set can't be read, or has no row that can be used.
    """
    section = recipe.evaluate
    if not section.retain:
        return []
    from ftune.data.collect import examples
    from ftune.data.few_shot import shown
    from ftune.data.ledger import Ledger
    from ftune.data.templating import load_template

    template = load_template(
        recipe.data.template, tokenizer, recipe.data.system_prompt, place.folder
    )
    found = []
    for at, source in enumerate(section.retain):
        ledger = Ledger([source.path])
        policy = recipe.data.on_bad_row
        seed = recipe.train.seed
        taken = examples([source], place.folder, policy, ledger, seed)
        taken = shown(taken, [source], place.folder, seed)
        named = f"evaluate.retain[{at}]"
        rows = rendered(taken, recipe, template, ledger, named, (source.task,), source.metrics)
        asking = Asking(
            chosen=source.metrics,
            generation=section.generation,
            batch_size=section.batch_size,
            stop=template.stop,
            stop_ids=template.stop_ids,
            window=Window.of(recipe),
            batch_tokens=section.batch_tokens,
        )
        found.append(Set(source.name, rows, asking))
    return found


def measure(
    model: Any, tokenizer: Any, sets: Sequence[Set], progress: Progress, stop: StopFlag
) -> list[Metric]:
    """The model's figures on all sets, each named after its set."""
    found = []
    for one in sets:
        progress.say(f"retained: {one.name}")
        _, metrics = measured(model, tokenizer, one.rows, one.asking, progress, stop)
        found += [replace(m, name=f"{one.name}/{m.name}{MARK}") for m in metrics]
    return found


def losses(figures: Sequence[Mapping[str, Any]]) -> list[str]:
    """A warning for each figure that a test found worse than before."""
    told = []
    for one in figures:
        before, after = one["base"], one["tuned"]
        if not one["name"].endswith(MARK) or before is None or after is None:
            continue
        if verdict.better(after - before, one["higher_is_better"], one["p"]) is False:
            told.append(
                f"what the base was good at was partly lost: {one['name'].removesuffix(MARK)} went "
                f"from {before:.4g} to {after:.4g}; mix such rows into data.train, or train less: "
                "a lower train.learning_rate, fewer epochs, a smaller adapter"
            )
    return told
