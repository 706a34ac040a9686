"""Stage evaluate: the base model before and the tuned one after, on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftune.recipe.view import View
from ftune.run.stage import Context, Place, Stage
from ftune.stages import prompting
from ftune.stages.models import MODEL_KEYS, Tuned, load_base, trained
from ftune.stages.rows import identity_of
from ftune.stages.testing import DATA_KEYS, Asking, TestSet, grouped, measure, read_rows
from ftune.types import Metric, Prediction, Report


def _identity(recipe: View, place: Place) -> dict[str, object]:
    return identity_of(recipe, ("test",), place) if recipe.evaluate.metrics else {}


def _run(context: Context) -> Report:
    recipe, around = context.recipe, context.around
    if not recipe.evaluate.metrics:
        return Report("evaluate", {}, ("evaluate.metrics names none; nothing was scored",))
    adapter = context.folder_of("train") / "adapter"
    tuned: Tuned = around.shared.pop("trained", None) or trained(
        recipe, around.place.allow_remote_code, adapter, around.progress
    )
    prompting.check(adapter, recipe, tuned.tokenizer, around.place, around.progress)
    rows, asking = prepare(recipe, "test", tuned.tokenizer, around.place)
    scored: dict[str, tuple[list[Prediction], list[Metric]]] = {}
    around.progress.say("evaluate: the tuned model")
    arguments = (tuned.tokenizer, rows, asking, around.progress, around.stop)
    scored["tuned"] = measure(tuned.model, *arguments)
    if recipe.evaluate.base:
        around.progress.say("evaluate: the base model")
        scored["base"] = _of_base(context, tuned, arguments)
    return write(context.folder, scored, rows, recipe.evaluate.bootstrap)


def _of_base(
    context: Context, tuned: Tuned, arguments: Any
) -> tuple[list[Prediction], list[Metric]]:
    """The same without the adapter, or with the base loaded again where training changed it."""
    from ftune.model.attaching import keeps_base

    if keeps_base(tuned.model):
        with tuned.model.disable_adapter():
            return measure(tuned.model, *arguments)
    base = load_base(context.recipe, context.around.place.allow_remote_code)
    return measure(base.model, *arguments)


def prepare(recipe: View, split: str, tokenizer: Any, place: Place) -> tuple[TestSet, Asking]:
    """The rows of a split and how they are asked."""
    rows, template = read_rows(recipe, split, tokenizer, place)
    section = recipe.evaluate
    if section.group_references:
        rows = grouped(rows)
    asking = Asking(
        chosen=section.metrics,
        generation=section.generation,
        batch_size=section.batch_size,
        stop=template.stop,
        stop_ids=template.stop_ids,
    )
    return rows, asking


def write(
    folder: Any,
    scored: dict[str, tuple[list[Prediction], list[Metric]]],
    rows: TestSet,
    resamples: int,
) -> Report:
    """Writes predictions.jsonl; the report has a line for each figure, before and after."""
    from ftune.evaluate import predictions, scoreboard
    from ftune.evaluate.resampling import SEED

    tuned, metrics = scored["tuned"]
    before = scored.get("base", ([], []))
    predictions.write(folder / "predictions.jsonl", tuned, before[0])
    lines = scoreboard.compare(before[1], metrics, resamples)
    figures = {
        "metrics": [
            {
                "name": line.name,
                "base": line.before,
                "tuned": line.after,
                "base_interval": line.before_interval,
                "tuned_interval": line.after_interval,
                "p": line.p,
                "unit": line.unit,
                "signature": line.signature,
                "higher_is_better": line.higher_is_better,
            }
            for line in lines
        ],
        "rows": len(rows.tokens),
        "prompts": len(rows.prompts),
        "cut": sum(p.finish == "length" for p in tuned),
        "ledger": rows.ledger,
        "bootstrap": {"resamples": resamples, "seed": SEED} if resamples else None,
    }
    summary = tuple(_line(line) for line in lines)
    warnings = _warnings(tuned)
    return Report("evaluate", figures, summary, warnings)


def _line(line: Any) -> str:
    after = "-" if line.after is None else f"{line.after:.4g}"
    if line.after_interval:
        after += " (95%: {:.4g} to {:.4g})".format(*line.after_interval)
    if line.before is None:
        return f"{line.name}: {after}"
    return f"{line.name}: {line.before:.4g} -> {after}"


def _warnings(tuned: Sequence[Prediction]) -> tuple[str, ...]:
    cut = sum(p.finish == "length" for p in tuned)
    if 2 * cut <= len(tuned):
        return ()
    return (
        f"{cut:,} of {len(tuned):,} answers reached evaluate.generation.max_new_tokens and were "
        "cut; raise it, or train longer so that the model learns to stop",
    )


EVALUATE = Stage(
    name="evaluate",
    version=1,
    reads=(*MODEL_KEYS, *DATA_KEYS, "evaluate"),
    needs=("train",),
    writes=("report.json",),
    identity=_identity,
    run=_run,
)
