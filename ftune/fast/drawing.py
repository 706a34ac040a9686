"""What dropout keeps, drawn from torch's generator at a sixteenth of the cost.

torch draws a double for each number, one after another, on every processor that is not Intel's.
Here 8 bits decide of each, eight to a draw (docs/decisions/081, 089).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

STEPS = 1 << 16  # a chance is rounded to one of so many
COARSE = 1 << 8  # of one call's: one of the two next to it
LEAST = 8 / COARSE  # chances below are drawn finely


def share_of(p: float) -> float:
    """The share that is kept where dropout's chance is ``p``, to 1 / 65,536."""
    return 1.0 - round(p * STEPS) / STEPS


def kept(shape: tuple[int, ...], p: float) -> torch.Tensor:
    """1 for each number on the CPU that is kept, else 0, as int8.

    The chance of a 1 is ``share_of(p)`` over many calls. Within a call it is one of the two
    multiples of 1 / 256 next to it, which is drawn for the call; numbers are independent then.
    """
    count = math.prod(shape)
    if not LEAST <= p <= 1.0 - LEAST:
        fine = torch.empty(count, dtype=torch.int8)
        line = round(p * STEPS) - STEPS // 2
        return torch.ge(_drawn(-(-count // 4)).view(torch.int16)[:count], line, out=fine).view(
            shape
        )
    drawn = _drawn(-(-count // 8) + 1)
    whole, part = divmod(round(p * STEPS), STEPS // COARSE)
    whole += int(drawn[-1]) % (STEPS // COARSE) < part
    # Eight numbers of each draw, negative ones too; written over, as a bool takes far longer.
    return drawn.view(torch.int8)[:count].ge_(whole - COARSE // 2).view(shape)


def _drawn(count: int) -> torch.Tensor:
    """So many draws of 64 bits, from their whole range."""
    return torch.empty(count, dtype=torch.int64).random_(-(1 << 63), None)


class Dropped(torch.autograd.Function):
    """``x`` where it is kept, divided by the share; keeps a byte for each number."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, p: float) -> torch.Tensor:
        """Of the shape of x."""
        ctx.p = p
        mask = kept(tuple(x.shape), p)
        ctx.save_for_backward(mask)
        return (x * mask).mul_(1.0 / share_of(p))

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        """Gradient of x."""
        (mask,) = ctx.saved_tensors
        return (grads[0] * mask).mul_(1.0 / share_of(ctx.p)), None


def forward_of(module: torch.nn.Module) -> Callable[..., torch.Tensor] | None:
    """A forward for torch's dropout, where it is one that drops something."""
    if type(module) is not torch.nn.Dropout or module.inplace or not 0.0 < module.p < 1.0:
        return None
    own = module.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if not module.training or x.device.type != "cpu" or not 0.0 < module.p < 1.0:
            return own(x)
        return Dropped.apply(x, module.p)

    return forward
