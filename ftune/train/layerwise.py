"""Layers that learn at rates of their own, and one after the other from the top.

Howard and Ruder 2018 (ULMFiT), https://arxiv.org/abs/1801.06146, sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

from ftune.recipe.schema import Train


@dataclass(frozen=True)
class LayerGroup:
    """The trained parameters of a layer; ``below``: how far it stands under the highest one."""

    name: str
    below: int
    parameters: tuple[str, ...]


def by_layer(
    model: torch.nn.Module,
    groups: Sequence[dict[str, Any]],
    layers: Sequence[LayerGroup],
    settings: Train,
) -> list[dict[str, Any]]:
    """Optimizer groups split by layer, the top one first, each with its own rate.

    A layer's is that of its group, or else ``train.learning_rate``, divided by
    ``train.layer_rate_decay`` once for each layer that it stands below the highest.
    """
    named = dict(model.named_parameters())
    found = []
    for layer in layers:
        own = {id(named[name]) for name in layer.parameters}
        for group in groups:
            rate = group.get("lr", settings.learning_rate) * factor(settings, layer)
            mine = [p for p in group["params"] if id(p) in own]
            if mine:
                found.append({**group, "params": mine, "lr": rate})
    return found


def factor(settings: Train, layer: LayerGroup) -> float:
    """What the rate of the highest layer is multiplied by."""
    decay = settings.layer_rate_decay
    return 1.0 if decay is None else decay**-layer.below


class Layerwise:
    """Which layers are trained in a step, and how fast; nothing where the recipe asks for neither.

    A frozen layer gets no gradient, so the optimizer passes it over: no decay, no moments. Which
    layers are frozen follows from the number of steps done alone, so a training that was stopped
    goes on as it would have.
    """

    def __init__(
        self,
        layers: Sequence[LayerGroup],
        settings: Train,
        counts: Sequence[int],
        trained: dict[str, torch.nn.Parameter],
    ) -> None:
        """``counts``: steps of each epoch."""
        self._layers, self._settings, self._trained = layers, settings, trained
        self._total = sum(counts)
        self._starts = _starts(settings, counts, len(layers))
        self._flagged: int | None = None

    def before_step(self, done: int) -> None:
        """Freezes and unfreezes for the step after ``done`` steps."""
        live = self._live(done)
        if self._settings.unfreeze_every is None or live == self._flagged:
            return
        self._flagged = live
        for number, layer in enumerate(self._layers):
            for name in layer.parameters:
                self._trained[name].requires_grad_(number < live)

    def release(self) -> None:
        """All that the method trains requires a gradient again, as what saves it expects."""
        for parameter in self._trained.values():
            parameter.requires_grad_(True)

    def begun(self, done: int) -> tuple[str, ...]:
        """Names of the layers whose first step is the one after ``done`` steps."""
        if self._settings.unfreeze_every is None:
            return ()
        pairs = zip(self._layers, self._starts, strict=True)
        return tuple(layer.name for layer, start in pairs if start == done)

    def rates(self, rate: float, step: int) -> dict[str, float]:
        """The rates of the layers that were trained in a step, by name; ``rate``: the highest's."""
        live = self._layers[: self._live(step - 1)]
        return {layer.name: rate * factor(self._settings, layer) for layer in live}

    def never(self) -> str:
        """Says which layers a training of this length leaves as they are; empty if none."""
        pairs = zip(self._layers, self._starts, strict=True)
        late = [layer.name for layer, start in pairs if start >= self._total]
        if not late:
            return ""
        return (
            f"train.unfreeze_every: {len(late)} of {len(self._layers)} layers ({', '.join(late)}) "
            f"would begin only after the last of the {self._total} steps, and stay as they are; "
            "lower it, or train for longer"
        )

    def told(self, steps: int) -> tuple[dict[str, Any], ...]:
        """Of each layer its name, its highest rate, the number of its parameters, and the first
        of the ``steps`` in which it was trained (None: in none)."""
        return tuple(
            {
                "name": layer.name,
                "learning_rate": self._settings.learning_rate * factor(self._settings, layer),
                "parameters": sum(self._trained[name].numel() for name in layer.parameters),
                "from_step": start + 1 if start < steps else None,
            }
            for layer, start in zip(self._layers, self._starts, strict=True)
        )

    def _live(self, done: int) -> int:
        return sum(start <= done for start in self._starts)


@contextmanager
def layer_by_layer(
    layers: Sequence[LayerGroup],
    settings: Train,
    counts: Sequence[int],
    trained: dict[str, torch.nn.Parameter],
) -> Iterator[Layerwise]:
    """What freezes layers, for one training; afterwards none is frozen."""
    made = Layerwise(layers, settings, counts, trained)
    try:
        yield made
    finally:
        made.release()


def _starts(settings: Train, counts: Sequence[int], layers: int) -> tuple[int, ...]:
    """For each layer, top first, the steps that are done when it begins to be trained."""
    every = settings.unfreeze_every
    if every is None:
        return (0,) * layers
    epochs, steps = every.epochs or len(counts), every.steps
    if steps is not None:
        return tuple(number * steps for number in range(layers))
    ends = (0, *accumulate(counts))  # steps done when an epoch begins
    return tuple(ends[min(number * epochs, len(ends) - 1)] for number in range(layers))
