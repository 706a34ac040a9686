"""The gradient of a step: forward and backward over its micro-batches, smaller ones if need be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from ftune.errors import RecipeError, RunError
from ftune.fast.quick import paths_of
from ftune.train import memory, randomness
from ftune.train.engine import Engine
from ftune.train.job import Job, Micro, Step
from ftune.types import Batch


@dataclass(frozen=True)
class Summed:
    """The batches and their losses; ``halvings``: how often micro-batches were halved for it."""

    batches: Sequence[Batch]
    losses: Sequence[torch.Tensor]
    halvings: int


def check(engine: Engine, job: Job) -> None:
    """Refuses what can't be done with these processes.

    Raises:
        RecipeError: parameters are sharded, so a process can't begin a micro-batch again alone, nor
            leave gradients out.
    """
    sharded = any(hasattr(p, "full_tensor") for p in engine.trained.values())
    sharded = sharded or engine.zero is not None
    if job.settings.unfreeze_every is not None and sharded:
        raise RecipeError(
            "train.unfreeze_every can't be had with sharded parameters, whose gradients are "
            "gathered for all layers alike; remove it"
        )
    if job.settings.on_oom == "shrink" and sharded:
        raise RecipeError(
            "train.on_oom: shrink can't be had with sharded parameters, whose processes wait for "
            "each other inside a micro-batch; use stop"
        )


def summed(engine: Engine, job: Job, step: Step, number: int, halvings: int) -> Summed:
    """The gradient of the step in the parameters, summed over its micro-batches and processes.

    The loss of each is divided by the number of targets of the whole step, all processes
    included, before its backward pass. Gradients are averaged over the processes, so the number of
    processes multiplies it. So a micro-batch in two halves gives the same, but for rounding.

    Raises:
        RunError: memory is short, and there is nothing left to halve.
    """
    if job.settings.on_oom == "stop":
        # DDP would wait for gradients of frozen layers.
        by_hand = engine.processes > 1 and job.settings.unfreeze_every is not None
        found = _run(engine, job, step, halvings, alone=by_hand)
        if by_hand:
            _average(engine)
        return found
    drawn = randomness.capture()
    while True:
        said, done = "", None
        try:
            done = _run(engine, job, step, halvings, alone=True)
        except (RuntimeError, MemoryError) as error:  # its frames hold memory until this ends
            if not memory.is_lack(error):
                raise
            said = memory.asked(error)
        lacking = int(engine.total(float(bool(said))))
        if done is not None and not lacking:
            _average(engine)
            return done
        done = None
        engine.optimizer.zero_grad()
        if engine.device.type == "cuda":
            torch.cuda.empty_cache()
        largest = max(_size(m, halvings) for micros in step.micros for m in micros)
        said = said or f"train: out of memory in {lacking} other of {engine.processes} processes"
        if largest == 1:
            raise RunError(
                f"{said}; step {number}: micro-batches hold one example each, so there is nothing "
                f"left to halve; {memory.advice(job.settings)}"
            )
        halvings += 1
        job.progress.warn(
            f"step {number}: {said}; from here on micro-batches hold at most "
            f"{-(-largest // 2)} examples, and there are more of them, which trains the same"
        )
        randomness.restore(*drawn)  # as if it had begun so


def _run(engine: Engine, job: Job, step: Step, halvings: int, alone: bool) -> Summed:
    """Forward and backward; ``alone``: no process waits for another in it."""
    model = engine.plain if alone else engine.model
    halved = [part for m in step.micros[engine.process] for part in _parts(m, 2**halvings)]
    scale = engine.processes / max(1, step.targets)
    batches: list[Batch] = []
    losses: list[torch.Tensor] = []
    for batch, waits in _ahead(part for m in halved for part in _collated(engine, job, m)):
        batch = to_device(batch, engine.device)
        by_hand = alone or engine.zero is not None
        # Gradients go between processes once, at the end.
        with engine.accelerator.no_sync(model) if waits and not by_hand else nullcontext():
            result = job.objective.loss(model, batch, job.objective_config)
            whole = result.total * scale
            if job.hooks.penalty and not waits:
                whole = whole + job.hooks.penalty()
            engine.backward(whole, last=not waits)
        batches.append(batch)
        losses.append(result.total.detach())
    return Summed(batches, losses, halvings)


def _collated(engine: Engine, job: Job, micro: Micro) -> Iterator[Batch]:
    """The batch of a micro-batch, or of its parts where it would keep too much at once.

    It follows from the batch's shape and the model alone, so a training that goes on after a stop
    does the same. Processes that share a model's parameters have to go through it equally often.
    """
    batch = job.collate(micro)
    most = paths_of(engine.plain).most_tokens
    count, length = batch.input_ids.shape
    free = engine.sharding is None and engine.zero is None
    if not (most and free) or count * length <= most or job.settings.gradient_checkpointing:
        yield batch
        return
    each = max(1, most // (length * (count // len(micro.lines))))
    for part in _parts(micro, -(-len(micro.lines) // each)):
        yield job.collate(part)


def _ahead(batches: Iterator[Batch]) -> Iterator[tuple[Batch, bool]]:
    """Each batch, and whether another one follows."""
    at = next(batches)
    for following in batches:
        yield at, True
        at = following
    yield at, False


def _average(engine: Engine) -> None:
    """What DDP does in a backward pass, after it: the mean of the gradients of all processes."""
    if engine.processes == 1:
        return
    for parameter in engine.trained.values():
        if not parameter.requires_grad:  # a frozen layer, in all processes alike
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= engine.processes


def _parts(micro: Micro, pieces: int) -> list[Micro]:
    """A micro-batch in at most ``pieces`` of like size."""
    if pieces == 1:
        return [micro]
    lines: Sequence[Any] = micro.lines
    size = -(-len(lines) // pieces)
    return [replace(micro, lines=lines[i : i + size]) for i in range(0, len(lines), size)]


def _size(micro: Micro, halvings: int) -> int:
    return -(-len(micro.lines) // 2**halvings)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on ``device``."""
    return batch if device.type == "cpu" else batch.to(device)
