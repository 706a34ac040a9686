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
from ftune.train.spikes import Figures, agreed, limits, spike
from ftune.types import Batch

ROWS_NAMED = 16  # rows that an error lists
OVERFLOWS = 25  # fp16 steps in a row that may be skipped: 2**25 is beyond any sensible scale
SKIPS = 10  # steps in a row that may be left out: beyond, it is not the rows


@dataclass(frozen=True)
class Taken:
    """Sum of the loss and norm of the gradient before clipping, over all processes.

    ``overflowed``: fp16 could not hold the gradient, the scale was lowered, nothing was applied.
    ``skipped``: why the step was not applied, with its rows; empty if it was. ``spiked``: it was
    finite, and a spike.
    ``halvings``: how often micro-batches were halved, for want of memory.
    """

    loss_sum: float
    grad_norm: float
    halvings: int = 0
    overflowed: bool = False
    skipped: str = ""
    spiked: bool = False

    @property
    def applied(self) -> bool:
        """Whether the weights changed."""
        return not (self.overflowed or self.skipped)


def take_step(
    engine: Engine,
    job: Job,
    step: Step,
    number: int,
    halvings: int = 0,
    recent: Sequence[Figures] = (),
) -> Taken:
    """Forward, backward, and one update of the weights.

    ``recent`` are the figures of the last applied steps, where spikes count.

    Raises:
        RunError: the loss or the gradient is not finite, or a spike, and ``train.on_nan`` or
            ``on_spike`` says stop, or memory is short; the weights are as before the step.
    """
    on_nan = job.settings.on_nan  # read also where all goes well, so that it counts as read
    engine.model.train()
    found = summed(engine, job, step, number, halvings)
    _check_count(engine, step, found.batches)
    norm = _clip(engine, job.settings.max_grad_norm or math.inf)
    own = torch.stack([*found.losses, norm.to(found.losses[0])]).tolist()  # waits for the device
    taken = Taken(engine.total(sum(own[:-1])), own[-1], found.halvings)
    what = _not_finite(taken)
    if what == "gradient" and engine.accelerator.scaler is not None:
        taken = replace(taken, overflowed=True)
    elif what:
        value = taken.loss_sum if what == "loss" else taken.grad_norm
        said = f"the {what} is {value}" if what == "loss" else f"the gradient's norm is {value}"
        why = _why(engine, job, said, found.batches, [math.isfinite(x) for x in own[:-1]])
        if on_nan != "skip":
            raise _diverged(job, number, why)
        return _left_out(engine, replace(taken, skipped=why))
    elif why := _spike(engine, job, step, taken, recent, found.batches, own[:-1]):
        if job.settings.on_spike != "skip":
            raise _spiked(number, why)
        return _left_out(engine, replace(taken, skipped=why, spiked=True))
    engine.optimizer.step()
    if job.hooks.after_step and taken.applied:
        job.hooks.after_step(number)
    engine.optimizer.zero_grad()
    if taken.applied:
        engine.schedule.step()
    return taken


def _spike(
    engine: Engine,
    job: Job,
    step: Step,
    taken: Taken,
    recent: Sequence[Figures],
    batches: Sequence[Batch],
    losses: Sequence[float],
) -> str:
    """Why a finite step is not to be applied, with its rows; empty if it is."""
    if job.settings.on_spike == "ignore":
        return ""
    rule = job.settings.spikes
    most = limits(recent, rule.deviations, rule.window)
    if most is None:
        return ""
    said = agreed(spike(figures(step, taken), most), engine.total)
    if not said:
        return ""
    good = [x <= most[0] * max(1, b.count) for b, x in zip(batches, losses, strict=True)]
    return _why(engine, job, said, batches, good)


def figures(step: Step, taken: Taken) -> Figures:
    """Mean loss and gradient's norm of a step."""
    return taken.loss_sum / max(1, step.targets), taken.grad_norm


def _clip(engine: Engine, most: float) -> torch.Tensor:
    """The norm of the whole gradient, all processes' shares included; it is scaled to ``most``."""
    trained = list(engine.trained.values())
    if engine.zero is not None:
        return torch.tensor(engine.zero.norm(), dtype=torch.float64)  # it scales in its step
    if engine.sharding is None:
        return engine.accelerator.clip_grad_norm_(trained, most)
    norm = math.sqrt(engine.total(engine.sharding.squares(trained)))
    engine.sharding.scale(trained, min(1.0, most / (norm + 1e-6)))  # as torch's clip_grad_norm_
    return torch.tensor(norm, dtype=torch.float64)


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
    said: str,
    batches: Sequence[Batch],
    good: Sequence[bool],
) -> str:
    """Names the rows of the micro-batches that are not ``good``, or all where none stands out."""
    bad = [b for b, fine in zip(batches, good, strict=True) if not fine]
    found = [{row for batch in bad for row in batch.rows}]
    every = [{row for batch in batches for row in batch.rows}]
    if engine.processes > 1:
        from accelerate.utils import gather_object

        found, every = gather_object(found), gather_object(every)
    rows = sorted(set().union(*found) or set().union(*every))
    named = ", ".join(job.describe(row) for row in rows[:ROWS_NAMED])
    more = f" and {len(rows) - ROWS_NAMED} more" if len(rows) > ROWS_NAMED else ""
    return f"{said}, so the step was not applied; its rows: {named}{more}"


def _diverged(job: Job, number: int, why: str) -> RunError:
    return RunError(
        f"step {number}: {why}; nothing of it is saved; lower train.learning_rate (now "
        f"{job.settings.learning_rate:g}) or look at these rows, or leave such steps out with "
        "train.on_nan: skip, then run the same command again"
    )


def _spiked(number: int, why: str) -> RunError:
    return RunError(
        f"step {number}: {why}; nothing of it is saved; look at these rows, then run the same "
        "command again with train.on_spike: skip, which leaves such steps out, or as another run "
        "with train.on_spike: ignore or more of train.spikes.deviations"
    )


def check_skips(skips: int, number: int, learning_rate: float) -> None:
    """Stops when one step after another is left out.

    Raises:
        RunError: ``SKIPS`` were.
    """
    if skips >= SKIPS:
        raise RunError(
            f"step {number}: {skips} steps in a row were not finite or spikes, and left out "
            "(train.on_nan or on_spike: skip), so it is not single rows; lower "
            f"train.learning_rate (now {learning_rate:g}) and run the same command again"
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
