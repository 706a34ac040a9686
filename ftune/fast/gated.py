"""The gate of a feed-forward layer, ``silu(gate) * up``, which keeps these two alone.

Shazeer 2020, https://arxiv.org/abs/2002.05202. What it gives is made again in the backward pass,
also for the adapter of the layer behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ftune.fast import lora
from ftune.fast.products import Products


class Gated(torch.autograd.Function):
    """``silu(gate) * up``."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """Both of one shape."""
        ctx.save_for_backward(gate, up)
        return _gated(gate, up)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        """Gradients of gate and up."""
        return _gradients(grads[0], *ctx.saved_tensors)


class GatedLora(torch.autograd.Function):
    """A LoRA layer behind ``silu(gate) * up``, which it does not keep."""

    @staticmethod
    def forward(
        ctx: Any,
        gate: torch.Tensor,
        up: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        kept: torch.Tensor | None,
        layer: lora.Layer,
    ) -> torch.Tensor:
        """(..., in) -> (..., out)."""
        flat = _gated(gate, up).view(-1, gate.shape[-1])
        out, down = layer.output(flat, (weight, bias, a, b), kept)
        ctx.save_for_backward(gate, up, weight, a, b, kept, down)
        ctx.layer = layer
        return out.view(*gate.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        """Gradients of gate, up, A and B."""
        gate, up, weight, a, b, kept, down = ctx.saved_tensors
        grad = grads[0].reshape(-1, weight.shape[0])
        flat = _gated(gate, up).view(-1, gate.shape[-1])
        asked = any(ctx.needs_input_grad[:2])
        to_flat, to_a, to_b = ctx.layer.gradients(grad, flat, (weight, a, b), kept, down, asked)
        behind = (None, None, to_a, to_b, None, None)
        if to_flat is None:
            return (None, None, *behind)
        return (*_gradients(to_flat.view_as(gate), gate, up), *behind)


def _gated(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.silu(gate).mul_(up)


def _gradients(
    grad: torch.Tensor, gate: torch.Tensor, up: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    to_gate = torch.ops.aten.silu_backward(grad * up, gate)
    return to_gate, torch.nn.functional.silu(gate).mul_(grad)


def forward_of(module: Any, products: Products) -> Callable[..., torch.Tensor] | None:
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
    last = module.down_proj
    fused = lora.known(last) and "forward" not in last.__dict__

    def forward(x: torch.Tensor) -> torch.Tensor:
        gate, up = module.gate_proj(x), module.up_proj(x)
        hooked = last._forward_hooks or last._forward_pre_hooks or last._backward_hooks
        parts = lora.arguments(last, gate, products) if fused and not hooked else None
        if parts is None:
            return module.down_proj(Gated.apply(gate, up))
        return GatedLora.apply(gate, up, *parts)

    return forward
