"""Compiles a model's layers before the first step, always on the same batches."""

from __future__ import annotations

from typing import Any

import torch

from ftune.errors import RecipeError
from ftune.fast import compiled, recompute
from ftune.train.job import Job


def check(model: Any, device: torch.device) -> None:
    """Looks whether layers can be compiled.

    Raises:
        RecipeError: there is no compiler, or the model has no layers that ftune knows.
    """
    compiled.check(device)
    if not recompute.blocks(model):
        raise RecipeError(
            f"{compiled.KEY}: {type(model).__name__} has no layers of its own kind that could be "
            "compiled one by one; set it to false"
        )


def warm(job: Job, device: torch.device) -> None:
    """One forward and backward pass of each kind of batch, whose gradients are dropped.

    The compiler looks at the numbers of the first batch that it sees, and decides by them how to
    write the code for all sizes. A training that goes on after a stop begins with another batch
    than the one that was never stopped, so both compile on those of the plan's first epoch: one of
    several lines and one of a single line, for which there is code of its own.

    Raises:
        RecipeError: the model can't be compiled.
    """
    meter = job.progress.meter("compile", None, "batches")
    job.model.train()
    with compiled.told(), meter as shown:
        for number, micro in enumerate(_kinds(job)):
            batch = job.collate(micro).to(device)
            result = job.objective.loss(job.model, batch, job.objective_config)
            result.total.backward()
            shown.update(number + 1)
    for parameter in job.model.parameters():
        parameter.grad = None


def _kinds(job: Job) -> list[Any]:
    """The plan's first micro-batch of several lines, and its first of one, if it has them."""
    found: dict[bool, Any] = {}
    epoch = job.plan.epoch(0)
    for at in range(len(epoch)):
        for micros in epoch[at].micros:
            for micro in micros:
                found.setdefault(len(micro.lines) > 1, micro)
        if len(found) == 2:
            break
    return list(found.values())
