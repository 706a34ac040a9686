"""Counts of a model's parameters and bytes, quantized or not."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any


@dataclass(frozen=True)
class Parameters:
    """How many parameters there are, and how many of them are trained."""

    total: int
    trainable: int

    @property
    def percent(self) -> float:
        """Share of the trained ones, 0 to 100."""
        return 100.0 * self.trainable / self.total if self.total else 0.0

    def __str__(self) -> str:
        return f"{self.trainable:,} of {self.total:,} parameters are trained ({self.percent:.3g}%)"


def count(model: Any) -> Parameters:
    """Counts each parameter once; of a 4-bit weight the numbers it stands for, not its bytes.

    Of a parameter of which some numbers were chosen for training, these count as trained.
    """
    from ftune.model import chosen

    total = trainable = 0
    some = chosen.of(model)
    for name, parameter in model.named_parameters():
        state = getattr(parameter, "quant_state", None)
        numbers = prod(state.shape) if state is not None else parameter.numel()
        total += numbers
        if parameter.requires_grad:
            trainable += some.count(name, parameter) if some is not None else numbers
    return Parameters(total, trainable)


def quantized_modules(model: Any) -> int:
    """How many linear layers are kept in 4 or 8 bits."""
    names = ("Linear4bit", "Linear8bitLt")
    return sum(type(module).__name__ in names for module in model.modules())


def memory(model: Any) -> int:
    """Bytes of all parameters and buffers, and of the scales of 4-bit weights."""
    scales = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        for part in (state, getattr(state, "state2", None)):
            scales += part.absmax.nbytes if part is not None else 0
    return int(model.get_memory_footprint()) + scales
