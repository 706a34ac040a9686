"""A plan for so many processes, handed to another number of them: the same rows in each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ftune.data.batching import Plan
from ftune.data.steps import Micro, Step


@dataclass(frozen=True)
class Redealt:
    """What a training that began with ``plan.processes`` processes goes on with in others.

    Which rows a step has stays as planned, so the loss, which is divided by the whole step's
    tokens, and its gradient are the same but for rounding.
    """

    plan: Plan
    processes: int

    def counts(self, epochs: float, max_steps: int | None = None) -> tuple[int, ...]:
        """Steps of each epoch, as planned."""
        return self.plan.counts(epochs, max_steps)

    def epoch(self, number: int) -> Sequence[Step]:
        """The steps of an epoch, as planned, dealt anew."""
        return _Epoch(self.plan.epoch(number), self.processes)


class _Epoch(Sequence[Step]):
    def __init__(self, steps: Sequence[Step], processes: int) -> None:
        self._steps, self._processes = steps, processes

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, at: Any) -> Any:
        found = self._steps[at]
        if isinstance(at, slice):
            return [deal(step, self._processes) for step in found]
        return deal(found, self._processes)


def deal(step: Step, processes: int) -> Step:
    """The step with its micro-batches handed to so many processes, equally many to each.

    They are cut where there are not enough of them; what can't be cut any further leaves a process
    idle. None gets larger.
    """
    rounds = zip(*step.micros, strict=True)
    micros = [micro for turn in rounds for micro in turn if not micro.idle]
    pieces = processes // math.gcd(len(micros), processes)
    micros = [part for micro in micros for part in _cut(micro, pieces)]
    micros += [Micro(micros[-1].lines[:1], idle=True)] * (-len(micros) % processes)
    return replace(step, micros=tuple(tuple(micros[p::processes]) for p in range(processes)))


def _cut(micro: Micro, pieces: int) -> list[Micro]:
    """A micro-batch in ``pieces`` of like size, or in one for each of its lines if it has fewer."""
    lines, pieces = micro.lines, min(pieces, len(micro.lines))
    edges = [len(lines) * i // pieces for i in range(pieces + 1)]
    return [Micro(lines[a:b]) for a, b in pairwise(edges)]
