"""LoRA's layer as one step of autograd: base and adapter together.

Of a layer with input x, PEFT's own leaves x, dropout(x), A x, B A x and the scaled sum to autograd
and adds them one by one. Here x, A x and one bit for each dropped number are kept, and the adapter
is added into the base's output where it stands. Hu et al. 2021, https://arxiv.org/abs/2106.09685.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ftune.fast.linear import plain
from ftune.fast.products import Products


@dataclass(frozen=True)
class Layer:
    """``x W' + bias + scaling * dropout(x) A' B'`` and its gradients, W and bias frozen.

    A and B may be wider than W (float32 on a bfloat16 base): then their part is computed, and
    added, as wide as they are, like PEFT does. Tensors are (tokens, in) and (tokens, out).
    """

    scaling: float
    share: float  # of the inputs that dropout keeps; 1 without dropout
    products: Products

    def output(
        self, x: torch.Tensor, weights: tuple[Any, ...], kept: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The output, and (tokens, rank) what A makes of x; ``kept`` says what dropout left."""
        weight, bias, a, b = weights
        down = self.products.linear(self._dropped(x.to(a.dtype), kept), a)
        out = self.products.linear(x, weight, bias).to(a.dtype)
        return out.addmm_(down, b.t(), alpha=self.scaling).to(x.dtype), down

    def gradients(
        self,
        grad: torch.Tensor,
        x: torch.Tensor,
        weights: tuple[Any, ...],
        kept: torch.Tensor | None,
        down: torch.Tensor,
        of_x: bool,
    ) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
        """Of x (where asked for), A and B."""
        weight, a, b = weights
        wide = grad.to(a.dtype)
        up = self.products.times(wide, b).mul_(self.scaling)  # (tokens, rank)
        to_b = self.products.over_rows(wide, down).mul_(self.scaling)
        to_a = self.products.over_rows(up, self._dropped(x.to(a.dtype), kept))
        if not of_x:
            return None, to_a, to_b
        to_x = self.products.times(grad, weight)
        if kept is None and to_x.dtype == a.dtype:
            to_x.addmm_(up, a)
        else:
            to_x += self._dropped(self.products.times(up, a), kept).to(to_x.dtype)
        return to_x, to_a, to_b

    def _dropped(self, x: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
        """What torch's dropout makes of x, if it keeps these."""
        return x if kept is None else x * kept.to(x.dtype).div_(self.share)


class LoraProduct(torch.autograd.Function):
    """``Layer`` for autograd."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        kept: torch.Tensor | None,
        layer: Layer,
    ) -> torch.Tensor:
        """(..., in) -> (..., out)."""
        flat = x.reshape(-1, x.shape[-1])
        out, down = layer.output(flat, (weight, bias, a, b), kept)
        ctx.save_for_backward(flat, weight, a, b, kept, down)
        ctx.shape, ctx.layer = x.shape, layer
        return out.view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        """Gradients of x, A and B."""
        flat, weight, a, b, kept, down = ctx.saved_tensors
        grad, asked = grads[0].reshape(-1, weight.shape[0]), ctx.needs_input_grad[0]
        to_x, to_a, to_b = ctx.layer.gradients(grad, flat, (weight, a, b), kept, down, asked)
        to_x = None if to_x is None else to_x.view(ctx.shape)
        return to_x, None, None, to_a, to_b, None, None


def forward_of(module: Any, products: Products) -> Callable[..., torch.Tensor] | None:
    """A forward for PEFT's LoRA on a linear layer; None for what this does not know."""
    if not known(module):
        return None
    own = module.forward

    def forward(x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        parts = None if args or options else arguments(module, x, products)
        return own(x, *args, **options) if parts is None else LoraProduct.apply(x, *parts)

    return forward


def known(module: Any) -> bool:
    """Whether it is PEFT's LoRA around a plain linear layer."""
    if "lora_A" not in getattr(module, "_modules", {}):
        return False
    from peft.tuners.lora.layer import Linear

    return type(module) is Linear and type(module.base_layer) is torch.nn.Linear


def arguments(module: Any, x: torch.Tensor, products: Products) -> tuple[Any, ...] | None:
    """Of ``LoraProduct`` behind x; None where PEFT's own forward has to be taken.

    Only the dtype, the device and the shape of x count.
    """
    name = _adapter(module, x)
    if name is None:
        return None
    base, dropout = module.base_layer, module.lora_dropout[name]
    a, b = module.lora_A[name].weight, module.lora_B[name].weight
    kept, share = None, 1.0
    if isinstance(dropout, torch.nn.Dropout) and dropout.p and dropout.training:
        # Drawn by the module itself, so that the same numbers fall as in PEFT's own.
        kept = dropout(torch.ones(x.shape, dtype=a.dtype, device=x.device)) != 0
        kept, share = kept.view(-1, x.shape[-1]), 1.0 - dropout.p
    layer = Layer(module.scaling[name], share, products)
    return base.weight, base.bias, a, b, kept, layer


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
