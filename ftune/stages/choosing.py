"""What a method trains, where it chooses by the data: made by stage load, and read again after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ftune.recipe.view import View
from ftune.registry import ENCODINGS, METHODS, OBJECTIVES
from ftune.run.stage import Context
from ftune.stages.models import Tuned
from ftune.types import Batch, LossSum

FILE = "choice.safetensors"


def chooses(recipe: View) -> bool:
    """Whether the recipe's method chooses what it trains by the data."""
    method = METHODS.load(recipe.tune.name)
    if hasattr(method, "chooses"):
        return bool(method.chooses(recipe.tune.config))
    return hasattr(method, "choose")


def choose(context: Context, tuned: Tuned) -> None:
    """Lets the method choose by a sample of the rows that format wrote, and keeps the choice.

    Raises:
        ModelError: there is nothing to choose by.
    """
    from safetensors.torch import save_file

    recipe = context.recipe
    method, config = METHODS.load(recipe.tune.name), recipe.tune.config
    tuned.model.eval()  # without dropout, so that the same rows give the same choice
    if hasattr(method, "sample"):
        number, size = method.sample(config)
        given: Iterator[Any] = batches(context, tuned, number * size, size)
    else:
        given = losses(context, tuned, config.sample_rows)
    found = method.choose(tuned.model, config, given)
    save_file(found, context.folder / FILE)
    method.take(tuned.model, config, found)


def take(recipe: View, tuned: Tuned, folder: Path) -> Tuned:
    """``tuned``, narrowed to the choice that stage load left in its ``folder``, if it made one."""
    from safetensors.torch import load_file

    if chooses(recipe):
        found = load_file(folder / FILE)
        METHODS.load(recipe.tune.name).take(tuned.model, recipe.tune.config, found)
    return tuned


def losses(context: Context, tuned: Tuned, count: int) -> Iterator[Any]:
    """The mean losses of ``count`` rows drawn with the seed, each with its gradient to come.

    Rows without a trained token are passed over.
    """
    for batch, loss in batches(context, tuned, count, 1):
        if batch.count:
            found = loss(batch)
            yield found.total / found.count


def batches(
    context: Context, tuned: Tuned, count: int, size: int
) -> Iterator[tuple[Batch, Callable[[Batch], LossSum]]]:
    """``count`` rows drawn with the seed, ``size`` a batch, each with what runs the model on it.

    That gives the objective's loss of a batch, as a sum and a count.
    """
    import torch

    from ftune.data.collating import collate
    from ftune.data.collating_labels import collate_labelled
    from ftune.data.steps import Micro
    from ftune.data.store import TokenStore
    from ftune.train.gradient import to_device

    settings = context.recipe.train
    name = settings.objective.name
    objective, asked = OBJECTIVES.load(name), settings.objective.config
    if hasattr(objective, "settle"):
        asked = objective.settle(asked, tuned.base.task)
    rows = TokenStore(context.folder_of("format") / "train.arrow")
    pad = tuned.tokenizer.pad_token_id or 0
    generator = torch.Generator().manual_seed(settings.seed)
    drawn = torch.randperm(len(rows), generator=generator)[:count].tolist()
    loss = partial(objective.loss, tuned.model, config=asked)
    with context.around.progress.meter("choose", len(drawn), "rows") as meter:
        for start in range(0, len(drawn), size):
            micro = Micro(tuple((row,) for row in drawn[start : start + size]))
            if rows.labelled:
                own = getattr(ENCODINGS.load(name), "collate", collate_labelled)
                batch = own(micro, read=rows.encoded, pad_id=pad)
            else:
                batch = collate(micro, rows.__getitem__, pad, packed=False)
            yield to_device(batch, tuned.base.device), loss
            meter.update(min(start + size, len(drawn)))
