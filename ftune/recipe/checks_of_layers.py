"""Rules for what goes layer by layer: the slanted schedule, rates of layers, unfreezing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ftune.recipe.layerwise import SlantedTriangular
from ftune.recipe.methods import VIRTUAL
from ftune.recipe.places import Problem, unread_key


def slanted(recipe: Any) -> Iterator[Problem]:
    """The slanted triangle rises by itself, and its keys go with it."""
    train = recipe.train
    if train.lr_scheduler_type != "slanted_triangular":
        why = f"with lr_scheduler_type: {train.lr_scheduler_type}; remove it, or write "
        why += "lr_scheduler_type: slanted_triangular"
        for key, default in SlantedTriangular():
            at = ("train", "slanted_triangular", key)
            yield from unread_key(at, getattr(train.slanted_triangular, key), default, why)
    elif train.warmup_ratio or train.warmup_steps:
        yield Problem(
            ("train", "warmup_steps" if train.warmup_steps else "warmup_ratio"),
            "train.lr_scheduler_type: slanted_triangular rises by itself, for "
            "train.slanted_triangular.cut_frac of the steps; remove the warm-up",
        )


def unfreezing(recipe: Any) -> Iterator[Problem]:
    """In epochs or in steps, and fewer of them than the training has."""
    train, at = recipe.train, ("train", "unfreeze_every")
    every = train.unfreeze_every
    if every is None:
        return
    if (every.epochs is None) == (every.steps is None):
        said = "needs one of" if every.epochs is None else "takes only one of"
        yield Problem(
            at, f"train.unfreeze_every {said} epochs and steps; write {{epochs: 1}} for ULMFiT's"
        )
        return
    if train.torch_compile:
        yield Problem(
            ("train", "torch_compile"),
            "train.torch_compile: layers that are unfrozen one by one would be compiled again in "
            "the midst of training, and a run that goes on after a stop otherwise than one that "
            "never stopped; write false, or remove unfreeze_every",
        )
    epochs = None if train.max_steps is not None else train.num_train_epochs
    if every.epochs is not None and epochs is not None and every.epochs >= epochs:
        yield _never((*at, "epochs"), every.epochs, f"{epochs:g} epochs")
    if every.steps is not None and train.max_steps is not None and every.steps >= train.max_steps:
        yield _never((*at, "steps"), every.steps, f"{train.max_steps} steps")


def _never(at: tuple[str, ...], value: int, length: str) -> Problem:
    return Problem(
        at,
        f"{'.'.join(at)}: {value} is no less than the {length} of the training, so that only the "
        "top layer would ever be trained; lower it, or train for longer",
    )


def tuned_parameters(recipe: Any) -> Iterator[Problem]:
    """Methods whose parameters stand in no layer, or can't do without a gradient."""
    name, train = recipe.tune.name, recipe.train
    asked = {
        "layer_rate_decay": train.layer_rate_decay is not None,
        "unfreeze_every": train.unfreeze_every is not None,
    }
    for key in (key for key, wanted in asked.items() if wanted):
        if name in VIRTUAL:
            yield Problem(
                ("train", key),
                f"train.{key}: what {name} trains stands before all layers and in none of them; "
                "remove it",
            )
        if name == "adalora" and key == "unfreeze_every":
            yield Problem(
                ("train", key),
                "train.unfreeze_every: adalora gives ranks by the gradients of all layers, of "
                "which frozen ones have none; remove it, or write method: lora",
            )


RULES: tuple[Callable[[Any], Iterator[Problem]], ...] = (slanted, unfreezing, tuned_parameters)
