"""Stage load: the base model, quantized if asked, with what is to be trained attached."""

from __future__ import annotations

from ftune.recipe.view import View
from ftune.registry import METHODS
from ftune.run.stage import Context, Place, Stage
from ftune.stages import choosing, shares, tasks
from ftune.stages.models import MODEL_KEYS, base_identity
from ftune.types import Report


def _identity(recipe: View, place: Place) -> dict[str, object]:
    found: dict[str, object] = {"base": base_identity(recipe, place.allow_remote_code)}
    method = METHODS.load(recipe.tune.name)
    if hasattr(method, "identity"):
        found["method"] = method.identity(recipe.tune.config)
    return found


def _run(context: Context) -> Report:
    from ftune.model.sizes import count

    task = tasks.told_in(context.folder_of("format"))
    tuned = shares.fresh(context.recipe, context.around.place.allow_remote_code, task)
    if choosing.chooses(context.recipe):
        choosing.choose(context, tuned)
    context.around.shared["tuned"] = tuned
    sizes = count(tuned.model)
    facts = tuned.base.facts
    figures = {
        **facts,
        "name": context.recipe.model.name_or_path,
        "method": context.recipe.tune.name,
        "identity": tuned.base.identity,
        "parameters": sizes.total,
        "trainable": sizes.trainable,
        "trainable_percent": 100 * sizes.trainable / sizes.total,
    }
    line = (
        f"{context.recipe.model.name_or_path}: {facts['parameters']:,} parameters in "
        f"{facts['dtype']} on {facts['device']}, {facts['bytes'] / 1e6:,.1f} MB; "
        f"{context.recipe.tune.name} trains {sizes.trainable:,} "
        f"({figures['trainable_percent']:.2f}%)"
    )
    lines = (line, *filter(None, (shares.reading(tuned),)))
    for said in lines:
        context.around.progress.say(f"load: {said}")
    return Report("load", figures, lines)


LOAD = Stage(
    name="load",
    version=1,
    reads=(*MODEL_KEYS, "tune", "distributed.fsdp"),
    needs=("format",),
    writes=("report.json",),
    identity=_identity,
    run=_run,
)
