"""A linear layer whose products are made by ``Products``, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ftune.fast.products import Products


class LinearProduct(torch.autograd.Function):
    """``x @ weight.T + bias``; saves x only where the weight is trained."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        products: Products,
    ) -> torch.Tensor:
        """(..., in) -> (..., out)."""
        ctx.products = products
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        out = products.linear(x, weight, bias)
        # To a view made here nothing could be added in place, as PEFT's AdaLoRA does.
        return torch.ops.aten._unsafe_view(out, out.shape) if out._is_view() else out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        """Gradients of x, weight and bias, where asked for."""
        x, weight = ctx.saved_tensors
        grad, products = grads[0], ctx.products
        flat = grad.reshape(-1, grad.shape[-1])
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = products.times(flat, weight).view(*grad.shape[:-1], weight.shape[1])
        if ctx.needs_input_grad[1]:
            to_weight = products.over_rows(flat, x.reshape(-1, x.shape[-1]))
        if ctx.needs_input_grad[2]:
            to_bias = flat.sum(0)
        return to_x, to_weight, to_bias, None


def single(x: torch.Tensor, *weights: torch.Tensor | None) -> bool:
    """Whether all are plain float32 on the CPU and nothing is cast on the way."""
    return (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and all(w is None or (plain(w) and w.dtype == torch.float32) for w in weights)
    )


def plain(weight: torch.Tensor) -> bool:
    """Whether it is a parameter that holds its own numbers: not sharded, not packed in bits."""
    return type(weight) is torch.nn.Parameter and weight.dim() > 0


def forward_of(module: torch.nn.Module, products: Products) -> Callable[..., torch.Tensor] | None:
    """A forward for an ``nn.Linear``, or None where torch's own is as good."""
    if type(module) is not torch.nn.Linear or not products.onednn:
        return None
    own = module.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if not single(x, module.weight, module.bias):
            return own(x)
        return LinearProduct.apply(x, module.weight, module.bias, products)

    return forward
