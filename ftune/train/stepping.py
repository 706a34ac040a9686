"""One optimizer step: gradient, clip, check, apply; what is no number is not applied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ftune.errors import RunError
from ftune.train.engine import Engine
from ftune.train.gradient import summed
from ftune.train.job import Job, Step
from ftune.types import Batch

ROWS_NAMED = 16  # rows that an error lists
OVERFLOWS = 25  # fp16 steps in a row that may be skipped: 2**25 is beyond any sensible scale
SKIPS = 10  # steps in a row that train.on_nan: skip leaves out: beyond, it is not the rows


@dataclass(frozen=True)
class Taken:
    """Sum of the loss and norm of the gradient before clipping, over all processes.

    ``overflowed``: fp16 could not hold the gradient, the scale was lowered, nothing was applied.
    ``skipped``: why the step was not applied, with its rows; empty if it was.
    ``halvings``: how often micro-batches were halved, for want of memory.
    """

    loss_sum: float
    grad_norm: float
    halvings: int = 0
    overflowed: bool = False
    skipped: str = ""

    @property
    def applied(self) -> bool:
        """Whether the weights changed."""
        return not (self.overflowed or self.skipped)


def take_step(engine: Engine, job: Job, step: Step, number: int, halvings: int = 0) -> Taken:
    """Forward, backward, and one update of the weights.

    Raises:
        RunError: the loss or the gradient is not finite, and ``train.on_nan`` is not skip, or
            memory is short; the weights are as before the step.
    """
    may_skip = job.settings.on_nan == "skip"
    engine.model.train()
    found = summed(engine, job, step, number, halvings)
    _check_count(engine, step, found.batches)
    norm = engine.accelerator.clip_grad_norm_(
        engine.trained.values(), job.settings.max_grad_norm or math.inf
    )
    own = torch.stack([*found.losses, norm.to(found.losses[0])]).tolist()  # waits for the device
    taken = Taken(engine.total(sum(own[:-1])), own[-1], found.halvings)
    what = _not_finite(taken)
    if what == "gradient" and engine.accelerator.scaler is not None:
        taken = replace(taken, overflowed=True)
    elif what:
        why = _why(engine, job, what, taken, found.batches, own[:-1])
        if not may_skip:
            raise _diverged(job, number, why)
        return _left_out(engine, replace(taken, skipped=why))
    engine.optimizer.step()
    if job.hooks.after_step and taken.applied:
        job.hooks.after_step(number)
    engine.optimizer.zero_grad()
    if taken.applied:
        engine.schedule.step()
    return taken


def _not_finite(taken: Taken) -> str:
    if not math.isfinite(taken.loss_sum):
        return "loss"
    return "" if math.isfinite(taken.grad_norm) else "gradient"


def _left_out(engine: Engine, taken: Taken) -> Taken:
    """Forgets the gradient; neither weights nor optimizer nor schedule see this step."""
    if engine.accelerator.scaler is not None:
        engine.accelerator.scaler.update()  # else it refuses the next step
    engine.optimizer.zero_grad()
    return taken


def _check_count(engine: Engine, step: Step, batches: Sequence[Batch]) -> None:
    if engine.processes == 1 and sum(batch.count for batch in batches) != step.targets:
        raise RunError(
            f"the plan counts {step.targets} trained tokens in a step whose batches hold "
            f"{sum(batch.count for batch in batches)}: the tokens file is not the one that was "
            "planned for; run the same command with --fresh"
        )


def _why(
    engine: Engine,
    job: Job,
    what: str,
    taken: Taken,
    batches: Sequence[Batch],
    losses: Sequence[float],
) -> str:
    """Names the micro-batches whose own loss is not finite, or all where none stands out."""
    bad = [b for b, x in zip(batches, losses, strict=True) if not math.isfinite(x)]
    found = [{row for batch in bad for row in batch.rows}]
    every = [{row for batch in batches for row in batch.rows}]
    if engine.processes > 1:
        from accelerate.utils import gather_object

        found, every = gather_object(found), gather_object(every)
    rows = sorted(set().union(*found) or set().union(*every))
    named = ", ".join(job.describe(row) for row in rows[:ROWS_NAMED])
    more = f" and {len(rows) - ROWS_NAMED} more" if len(rows) > ROWS_NAMED else ""
    value = taken.loss_sum if what == "loss" else taken.grad_norm
    said = "loss" if what == "loss" else "gradient's norm"
    return f"the {said} is {value}, so the step was not applied; its rows: {named}{more}"


def _diverged(job: Job, number: int, why: str) -> RunError:
    return RunError(
        f"step {number}: {why}; nothing of it is saved; lower train.learning_rate (now "
        f"{job.settings.learning_rate:g}) or look at these rows, or leave such steps out with "
        "train.on_nan: skip, then run the same command again"
    )


def check_skips(skips: int, number: int, learning_rate: float) -> None:
    """Stops when one step after another is left out.

    Raises:
        RunError: ``SKIPS`` were.
    """
    if skips >= SKIPS:
        raise RunError(
            f"step {number}: {skips} steps in a row were not finite and left out (train.on_nan: "
            f"skip), so it is not single rows; lower train.learning_rate (now {learning_rate:g}) "
            "and run the same command again"
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
