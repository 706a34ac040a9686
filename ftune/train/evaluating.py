"""The loss on held-out rows, during training."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from ftune.errors import RunError
from ftune.train.engine import Engine
from ftune.train.gradient import to_device
from ftune.train.job import Job, Micro


@torch.no_grad()
def evaluation_loss(engine: Engine, job: Job) -> float | None:
    """Mean loss over all trained tokens of the evaluation rows; None if asked to stop meanwhile.

    It is the objective's own loss, without dropout, summed and divided once by the global count.

    Raises:
        RunError: the loss is not finite, or no token of these rows is trained.
    """
    assert job.eval_collate is not None
    engine.plain.eval()
    total, count = 0.0, 0
    with job.progress.meter("evaluate", len(job.eval_batches), "batches") as meter:
        for done, (micro, counts) in enumerate(_dealt(engine, job)):
            if job.stop and engine.processes == 1:
                return None
            batch = to_device(job.eval_collate(micro), engine.device)
            result = job.objective.loss(engine.plain, batch, job.objective_config)
            if not counts:
                continue
            total += float(result.total)
            count += result.count
            seen = min((done + 1) * engine.processes, len(job.eval_batches))
            meter.update(seen, loss=f"{total / max(1, count):.4f}")
    if engine.sharding is not None:
        engine.sharding.rest()
    total, count = engine.total(total), int(engine.total(count))
    if not count:
        raise RunError("data.eval: none of its tokens is trained; check data.template and train_on")
    if not math.isfinite(total):
        raise RunError(f"the loss on data.eval is {total / count}; nothing is saved from here on")
    return total / count


def _dealt(engine: Engine, job: Job) -> Iterator[tuple[Micro, bool]]:
    """This process's share of the evaluation batches, and whether each counts.

    Where the model is split, no process can run alone: one that has no batch left runs its first
    once more, which doesn't count.
    """
    batches = job.eval_batches
    for start in range(0, len(batches), engine.processes):
        at = start + engine.process
        if at < len(batches):
            yield batches[at], True
        elif engine.in_step:
            yield batches[0], False
