"""One optimizer step: forward and backward over its micro-batches, clip, check, apply."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch

from ftune.errors import RunError
from ftune.train.engine import Engine
from ftune.train.job import Job, Step
from ftune.types import Batch

ROWS_NAMED = 16  # rows that an error lists
OVERFLOWS = 25  # fp16 steps in a row that may be skipped: 2**25 is beyond any sensible scale


@dataclass(frozen=True)
class Taken:
    """Sum of the loss and norm of the gradient before clipping, over all processes.

    ``overflowed``: fp16 could not hold the gradient, the scale was lowered, nothing was applied.
    """

    loss_sum: float
    grad_norm: float
    overflowed: bool = False


def take_step(engine: Engine, job: Job, step: Step, number: int) -> Taken:
    """Forward, backward, and one update of the weights.

    The sum of each micro-batch's loss is divided by the number of targets of the whole step, all
    processes included, before its backward pass. Gradients are averaged over the processes, so the
    number of processes multiplies it.

    Raises:
        RunError: the loss or the gradient is not finite; the weights are as before the step.
    """
    accelerator = engine.accelerator
    micros = step.micros[engine.process]
    scale = engine.processes / max(1, step.targets)
    engine.model.train()
    batches: list[Batch] = []
    losses: list[torch.Tensor] = []
    for at, micro in enumerate(micros):
        batch = to_device(job.collate(micro), engine.device)
        waits = at + 1 < len(micros)  # gradients go between processes once, at the end
        with accelerator.no_sync(engine.model) if waits else nullcontext():
            result = job.objective.loss(engine.model, batch, job.objective_config)
            whole = result.total * scale
            if job.hooks.penalty and not waits:
                whole = whole + job.hooks.penalty()
            accelerator.backward(whole)
        batches.append(batch)
        losses.append(result.total.detach())
    _check_count(engine, step, batches)
    norm = accelerator.clip_grad_norm_(
        engine.trained.values(), job.settings.max_grad_norm or math.inf
    )
    own = torch.stack([*losses, norm.to(losses[0])]).tolist()  # waits for the device, once
    taken = Taken(loss_sum=engine.total(sum(own[:-1])), grad_norm=own[-1])
    if not math.isfinite(taken.loss_sum):
        raise _diverged(job, number, "loss", taken.loss_sum, batches, own[:-1])
    if not math.isfinite(taken.grad_norm):
        if accelerator.scaler is None:
            raise _diverged(job, number, "gradient's norm", taken.grad_norm, batches, own[:-1])
        taken = replace(taken, overflowed=True)
    engine.optimizer.step()
    if job.hooks.after_step and not taken.overflowed:
        job.hooks.after_step(number)
    engine.optimizer.zero_grad()
    if not taken.overflowed:
        engine.schedule.step()
    return taken


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on ``device``."""
    if device.type == "cpu":
        return batch
    mask = batch.attention_mask
    return replace(
        batch,
        input_ids=batch.input_ids.to(device, non_blocking=True),
        labels=batch.labels.to(device, non_blocking=True),
        position_ids=batch.position_ids.to(device, non_blocking=True),
        attention_mask=None if mask is None else mask.to(device, non_blocking=True),
    )


def _check_count(engine: Engine, step: Step, batches: Sequence[Batch]) -> None:
    if engine.processes == 1 and sum(batch.count for batch in batches) != step.targets:
        raise RunError(
            f"the plan counts {step.targets} trained tokens in a step whose batches hold "
            f"{sum(batch.count for batch in batches)}: the tokens file is not the one that was "
            "planned for; run the same command with --fresh"
        )


def _diverged(
    job: Job, number: int, what: str, value: float, batches: Sequence[Batch], losses: list[float]
) -> RunError:
    """Names the micro-batches whose own loss is not finite, or all where none stands out."""
    bad = [b for b, x in zip(batches, losses, strict=True) if not math.isfinite(x)]
    rows = sorted({row for batch in bad or batches for row in batch.rows})
    named = ", ".join(job.describe(row) for row in rows[:ROWS_NAMED])
    more = f" and {len(rows) - ROWS_NAMED} more" if len(rows) > ROWS_NAMED else ""
    return RunError(
        f"step {number}: the {what} is {value}, so the step was not applied and nothing of it is "
        f"saved; its rows: {named}{more}; lower train.learning_rate (now "
        f"{job.settings.learning_rate:g}) or look at these rows, then run the same command again"
    )


def check_overflows(overflows: int, number: int) -> None:
    """Stops when fp16 skips one step after another.

    Raises:
        RunError: it did so ``OVERFLOWS`` times.
    """
    if overflows >= OVERFLOWS:
        raise RunError(
            f"step {number}: fp16 could not hold the gradient {overflows} times in a row; set "
            "distributed.mixed_precision to bf16 or no, or lower train.learning_rate"
        )
