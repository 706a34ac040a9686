"""RMSNorm in one step of autograd, which keeps its input and one number for each token.

Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class RmsNorm(torch.autograd.Function):
    """``weight * x / sqrt(mean(x^2) + eps)``, the quotient in float32 and rounded to x's dtype."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """(..., hidden) -> (..., hidden)."""
        wide = x.float()
        square = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_()
        scale = square.div_(x.shape[-1]).add_(eps).rsqrt_()  # (..., 1)
        ctx.save_for_backward(x, weight, scale)
        return (wide * scale).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        """Gradients of x and weight."""
        x, weight, scale = ctx.saved_tensors
        grad, wide = grads[0], x.float()
        to_x = to_weight = None
        if ctx.needs_input_grad[1]:
            normed = (wide * scale).to(x.dtype)
            to_weight = (grad * normed).reshape(-1, x.shape[-1]).sum(0).to(weight.dtype)
        if ctx.needs_input_grad[0]:
            inner = (grad * weight).float()
            along = torch.linalg.vecdot(inner, wide).unsqueeze(-1)
            along = along.mul_(scale * scale * scale).div_(-x.shape[-1])
            to_x = inner.mul_(scale).addcmul_(wide, along).to(x.dtype)
        return to_x, to_weight, None


def forward_of(module: torch.nn.Module) -> Callable[..., torch.Tensor] | None:
    """A forward for an RMSNorm as Llama has it; the caller compares it with the module's own."""
    weight = getattr(module, "weight", None)
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    named = type(module).__name__.endswith("RMSNorm")
    if not (named and isinstance(eps, float) and isinstance(weight, torch.nn.Parameter)):
        return None
    if weight.dim() != 1 or [n for n, _ in module.named_parameters()] != ["weight"]:
        return None
    own = module.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.dtype != module.weight.dtype or torch.is_autocast_enabled(x.device.type):
            return own(x)
        return RmsNorm.apply(x, module.weight, eps)

    return forward
