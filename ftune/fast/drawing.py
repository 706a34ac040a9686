"""What dropout keeps, drawn from torch's generator at an eighth of the cost.

torch draws a double for each number, one after another, on every processor that is not Intel's.
Here 16 bits decide of each, four to a draw (docs/decisions/081).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

STEPS = 1 << 16  # a chance is rounded to one of so many


def share_of(p: float) -> float:
    """The share that is kept where dropout's chance is ``p``, to 1 / 65,536."""
    return 1.0 - round(p * STEPS) / STEPS


def kept(shape: tuple[int, ...], p: float) -> torch.Tensor:
    """A bool for each number on the CPU: true with chance ``share_of(p)``."""
    count = 1
    for size in shape:
        count *= size
    drawn = torch.empty(-(-count // 4), dtype=torch.int64)
    # The whole range of 64 bits: of each draw four numbers of 16 bits, negative ones too.
    drawn.random_(-(1 << 63), None)
    return (drawn.view(torch.int16)[:count] >= round(p * STEPS) - STEPS // 2).view(shape)


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
