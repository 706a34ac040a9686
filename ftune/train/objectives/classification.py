"""Say which label a text has, or which of several labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from ftune.errors import RecipeError
from ftune.recipe.base import Section
from ftune.types import Batch, LossSum, Task

TAKES = "labelled"
KIND = "sequence_classification"


class Config(Section):
    """What the labels are, and how much each counts."""

    labels: tuple[str, ...] = ()
    """All labels in their order; empty: those of the training rows, numbers by size, texts by
    name."""
    multi_label: bool = False
    """A row may have several labels, or none: each is a yes or no of its own."""
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0.0)]] | None = None
    """How much the rows of each label count in the loss: by label, or ``balanced``: as scikit-learn
    weighs them, so that every label counts alike and a row counts 1 in the mean."""


@dataclass(frozen=True)
class Settled:
    """The Config with the weight of each label in their order; none where all count 1."""

    multi_label: bool
    weights: tuple[float, ...]


def settle(config: Config, task: Task) -> Settled:
    """What ``loss`` takes, for the labels that there are.

    Raises:
        RecipeError: a weight is of no label, or several labels a row are to be weighed.
    """
    given = config.class_weights
    if given is None:
        return Settled(config.multi_label, ())
    if config.multi_label:
        raise RecipeError(
            "train.objective: class_weights goes with one label a row; remove it, or multi_label"
        )
    if isinstance(given, Mapping):
        unknown = sorted(set(given) - set(task.labels))
        if unknown:
            raise RecipeError(
                f"train.objective: class_weights names {', '.join(unknown)}, which is no label; "
                f"there are: {', '.join(task.labels)}"
            )
        return Settled(False, tuple(given.get(label, 1.0) for label in task.labels))
    there = [count for count in task.counts if count]
    rows = sum(there)
    weights = (rows / (len(there) * count) if count else 1.0 for count in task.counts)
    return Settled(False, tuple(weights))


def logits(model: Any, batch: Batch) -> Any:
    """Of shape (rows, labels)."""
    from ftune.train.labelled import outputs, wide

    return wide(outputs(model, batch).logits)


def loss(model: Any, batch: Batch, config: Settled) -> LossSum:
    """Cross-entropy in nats over labels, summed over rows, with gradient.

    With several labels a row it is the mean of the binary cross-entropies of the labels.
    """
    import torch

    from ftune.train.labelled import NONE

    said = logits(model, batch)
    assert batch.targets is not None
    if config.multi_label:
        rows = batch.targets[:, 0] != NONE
        total = torch.nn.functional.binary_cross_entropy_with_logits(
            said[rows], batch.targets[rows].to(said.dtype), reduction="sum"
        )
        return LossSum(total=total / said.shape[-1], count=batch.count)
    weights = torch.tensor(config.weights, dtype=said.dtype, device=said.device)
    total = torch.nn.functional.cross_entropy(
        said,
        batch.targets[:, 0].long(),
        weight=weights if config.weights else None,
        ignore_index=NONE,
        reduction="sum",
    )
    return LossSum(total=total, count=batch.count)
