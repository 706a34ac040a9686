"""Models that are split over processes: how they are read, and what each held a share of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ftune import environment
from ftune.recipe.view import View
from ftune.run.stage import Context
from ftune.stages import choosing, models, prompting
from ftune.stages.models import Tuned
from ftune.types import Task


def fresh(recipe: View, allow_code: bool, task: Task | None = None) -> Tuned:
    """As ``models.fresh``; of a model that several processes split, the weights are not read yet.

    Where that can't be had they are, and ``why_whole`` says why. All processes decide alike.
    """
    if environment.processes()[1] == 1 or recipe.distributed.fsdp is None:
        return models.fresh(recipe, allow_code, task)
    from ftune.model.standins import ObstacleError

    try:
        return _unread(recipe, allow_code, task)
    except ObstacleError as error:
        why = str(error)
    return replace(models.fresh(recipe, allow_code, task), why_whole=why)


def _unread(recipe: View, allow_code: bool, task: Task | None) -> Tuned:
    from ftune.model.standins import ObstacleError

    if choosing.chooses(recipe):
        raise ObstacleError("the tuning method looks at the weights to choose what it trains")
    try:
        tuned = models.fresh(recipe, allow_code, task, in_shares=True)
    except ObstacleError:
        raise
    except Exception as error:  # a mistake of the recipe shows again with the weights
        line = str(error).strip().partition("\n")[0]
        raise ObstacleError(f"without its weights it can't be made ready ({line})") from error
    tuned.base.unread.check(tuned.model)
    tuned.base.unread.draw()
    return tuned


def reading(tuned: Tuned) -> str:
    """How the weights are read, for the report; empty where one process has them all."""
    if tuned.base.unread is not None:
        return "its weights are read when it is split, a layer at a time"
    return f"each process reads all of it: {tuned.why_whole}" if tuned.why_whole else ""


def for_job(context: Context, tuned: Tuned) -> dict[str, Any]:
    """What a training is told of weights that are not read yet, and how it writes them."""
    unread = tuned.base.unread
    told = {"unread": unread, "why_whole": tuned.why_whole or "there is one process"}
    if unread is None:
        return told
    from ftune.model import keeping

    if not keeping.goes(tuned.model):
        return told
    keep = partial(
        keeping.save,
        tuned.model,
        context.folder / "adapter",
        first=environment.processes()[0] == 0,
        base=tuned.base.identity,
        tokenizer=tuned.tokenizer,
        method=context.recipe.tune.name,
        beside=[context.folder_of("format") / prompting.NAME],
    )
    return {**told, "keep": keep}


def written(outcome: Any) -> bool:
    """Whether the training has written what it trained already; else the first process has it."""
    return outcome.sharding is not None and bool(outcome.sharding["written_in_shares"])


def lines(told: Mapping[str, Any] | None) -> tuple[str, ...]:
    """A line for the report; ``told`` is ``Outcome.sharding``. None where nothing was split."""
    if told is None:
        return ()
    number = told["processes"]
    pairs = zip(told["parameter_bytes_of_each"], told["optimizer_bytes_of_each"], strict=True)
    each = ", ".join(f"{(own + moments) / 1e6:,.2f}" for own, moments in pairs)
    whole = (told["parameter_bytes"] + told["optimizer_bytes"]) / 1e6
    return (
        f"split over {number} process{'es' * (number != 1)}, gathered in {told['groups']} groups "
        f"({', '.join(told['layer_classes'])}, and the rest): {told['parameters_split']} of "
        f"{told['parameters']} parameters, {told['gradients_split']} of {told['trained']} "
        f"gradients and {told['optimizer_tensors_split']} of {told['optimizer_tensors']} tensors "
        f"of the optimizer are DTensors; of the {whole:,.2f} MB of parameters and optimizer the "
        f"processes hold {each} MB; " + _whole(told),
    )


def _whole(told: Mapping[str, Any]) -> str:
    if not told["read_in_shares"]:
        return f"before, each had the whole of it: {told['why_whole']}"
    if told["trained"] == told["parameters"] and not told["written_in_shares"]:
        return "the first had the whole of it at the end, to write it in the form of its files"
    return "no process had the whole of it"
