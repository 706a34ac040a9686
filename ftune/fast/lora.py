"""LoRA's layer as one step of autograd: base and adapter together.

Of a layer with input x, PEFT's own leaves x, dropout(x), A x, B A x and the scaled sum to autograd
and adds them one by one. Here x, A x and one bit for each dropped number are kept, and the adapter
is added into the base's output where it stands. Hu et al. 2021, https://arxiv.org/abs/2106.09685.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ftune.fast.linear import plain
from ftune.fast.products import Products


class LoraProduct(torch.autograd.Function):
    """``x W' + bias + scaling * dropout(x) A' B'``, W and bias frozen.

    A and B may be wider than W (float32 on a bfloat16 base): then their part is computed, and
    added, as wide as they are, like PEFT does.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        kept: torch.Tensor | None,
        share: float,
        scaling: float,
        products: Products,
    ) -> torch.Tensor:
        """(..., in) -> (..., out); ``kept`` are the inputs that dropout left, ``share`` of all."""
        flat = x.reshape(-1, x.shape[-1])
        down = products.linear(_dropped(flat.to(a.dtype), kept, share), a)  # (tokens, rank)
        out = products.linear(flat, weight, bias).to(a.dtype).addmm_(down, b.t(), alpha=scaling)
        ctx.save_for_backward(flat, weight, a, b, down, kept)
        ctx.shape, ctx.share, ctx.scaling, ctx.products = x.shape, share, scaling, products
        return out.to(x.dtype).view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        """Gradients of x, A and B."""
        flat, weight, a, b, down, kept = ctx.saved_tensors
        products = ctx.products
        grad = grads[0].reshape(-1, weight.shape[0])
        wide = grad.to(a.dtype)
        up = products.times(wide, b).mul_(ctx.scaling)  # (tokens, rank)
        to_b = products.over_rows(wide, down).mul_(ctx.scaling)
        to_a = products.over_rows(up, _dropped(flat.to(a.dtype), kept, ctx.share))
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = products.times(grad, weight)
            if kept is None and to_x.dtype == a.dtype:
                to_x.addmm_(up, a)
            else:
                to_x += _dropped(products.times(up, a), kept, ctx.share).to(to_x.dtype)
            to_x = to_x.view(ctx.shape)
        return to_x, None, None, to_a, to_b, None, None, None, None


def _dropped(x: torch.Tensor, kept: torch.Tensor | None, share: float) -> torch.Tensor:
    """What torch's dropout makes of x, if it keeps these."""
    return x if kept is None else x * kept.to(x.dtype).div_(share)


def forward_of(module: Any, products: Products) -> Callable[..., torch.Tensor] | None:
    """A forward for PEFT's LoRA on a linear layer; None for what this does not know."""
    if not _known(module):
        return None
    own = module.forward

    def forward(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        name = _adapter(module, x)
        if name is None or args or options:
            return own(x, *args, **options)
        base, dropout = module.base_layer, module.lora_dropout[name]
        a, b = module.lora_A[name].weight, module.lora_B[name].weight
        kept, share = None, 1.0
        if isinstance(dropout, torch.nn.Dropout) and dropout.p and dropout.training:
            # Drawn by the module itself, so that the same numbers fall as in PEFT's own.
            kept = dropout(torch.ones(x.shape, dtype=a.dtype, device=x.device)) != 0
            kept, share = kept.view(-1, x.shape[-1]), 1.0 - dropout.p
        return LoraProduct.apply(
            x, base.weight, base.bias, a, b, kept, share, module.scaling[name], products
        )

    return forward


def _known(module: Any) -> bool:
    if "lora_A" not in getattr(module, "_modules", {}):
        return False
    from peft.tuners.lora.layer import Linear

    return type(module) is Linear and type(module.base_layer) is torch.nn.Linear


def _adapter(module: Any, x: torch.Tensor) -> str | None:
    """The adapter that would be added, if it is one, plain, and nothing else is trained here."""
    names = [name for name in module.active_adapters if name in module.lora_A]
    base = module.base_layer
    if len(names) != 1 or module.disable_adapters or module.merged or base.weight.requires_grad:
        return None
    name = names[0]
    a, b = module.lora_A[name], module.lora_B[name]
    fits = (
        plain(base.weight)
        and plain(a.weight)
        and plain(b.weight)
        and x.dtype == base.weight.dtype
        and a.weight.dtype == b.weight.dtype
        and a.weight.dtype in (x.dtype, torch.float32)
        and a.bias is None
        and b.bias is None
        and (base.bias is None or not base.bias.requires_grad)
        and name not in module.lora_variant
        and not torch.is_autocast_enabled(x.device.type)
        and x.numel() > 0
    )
    return name if fits else None
