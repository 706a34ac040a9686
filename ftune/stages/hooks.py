"""What the recipe's tuning method wants of the training: functions of its file, by their names."""

from __future__ import annotations

from functools import partial
from typing import Any

from ftune.recipe.view import View
from ftune.registry import METHODS

ON_MODEL = ("begin", "penalty", "after_step", "state", "load_state")


def hooks(recipe: View, model: Any) -> Any:
    """``ftune.train.hooks.Hooks`` made of what the method's file has of them."""
    from ftune.train.hooks import Hooks

    method = METHODS.load(recipe.tune.name)
    found = {
        name: partial(getattr(method, name), model) for name in ON_MODEL if hasattr(method, name)
    }
    if hasattr(method, "parameter_groups"):
        found["groups"] = partial(method.parameter_groups, model, recipe.tune.config, recipe.train)
    return Hooks(**found)


def layers(recipe: View, model: Any) -> tuple[Any, ...]:
    """What is trained by layer, the top one first, where the recipe goes layer by layer.

    Raises:
        ModelError: the model has no list of layers.
    """
    if recipe.train.layer_rate_decay is None and recipe.train.unfreeze_every is None:
        return ()
    from ftune.model.depth import layer_groups
    from ftune.train.layerwise import LayerGroup

    return tuple(LayerGroup(*each) for each in layer_groups(model))
