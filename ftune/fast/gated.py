"""The gate of a feed-forward layer, ``silu(gate) * up``, which keeps these two alone.

Shazeer 2020, https://arxiv.org/abs/2002.05202. ``silu(gate)`` is made again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Gated(torch.autograd.Function):
    """``silu(gate) * up``."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """Both of one shape."""
        ctx.save_for_backward(gate, up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        """Gradients of gate and up."""
        gate, up = ctx.saved_tensors
        grad = grads[0]
        to_gate = torch.ops.aten.silu_backward(grad * up, gate)
        return to_gate, torch.nn.functional.silu(gate).mul_(grad)


def forward_of(module: Any) -> Callable[..., torch.Tensor] | None:
    """A forward for a gated feed-forward layer as Llama has it.

    The projections are called as modules, so what is attached to them stays. The caller compares it
    with the module's own.
    """
    names = {"gate_proj", "up_proj", "down_proj"}
    others = {name for name, _ in module.named_children()} - names
    if not all(hasattr(module, name) for name in names) or others - {"act_fn"}:
        return None
    if type(getattr(module, "act_fn", None)).__name__ not in ("SiLUActivation", "SiLU"):
        return None

    def forward(x: torch.Tensor) -> torch.Tensor:
        return module.down_proj(Gated.apply(module.gate_proj(x), module.up_proj(x)))

    return forward
