"""Head and cross-entropy together, a few positions at a time, the gradient made on the way.

Autograd would keep the logits of all positions until the backward pass, and their gradient beside
them. Here the logits of a chunk become its loss and its part of the gradient, and are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ftune.fast.products import Products

# Bytes of logits at once. On a CPU just under what the C library asks the kernel for anew, cleared
# page by page, each time; on a GPU enough rows for a product at full rate.
CPU_BYTES, GPU_BYTES = 30_000_000, 512_000_000


@dataclass(frozen=True)
class Head:
    """An output head of which it is known that the model's logits are its product and no more."""

    module: torch.nn.Linear
    products: Products

    def usable(self) -> bool:
        """Whether the fast loss is right here: not for weights that are sharded, nor in float16
        (whose gradient needs the loss's scale), nor where autocast makes the products narrower."""
        weight, bias = self.module.weight, self.module.bias
        whole = all(w is None or type(w) is torch.nn.Parameter for w in (weight, bias))
        cast = torch.is_autocast_enabled(weight.device.type)
        return whole and not cast and weight.dtype != torch.float16

    def loss(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Sum of the cross-entropy in nats: hidden (targets, hidden), labels (targets)."""
        weight, bias = self.module.weight, self.module.bias
        # Asked for here: inside of a Function there never seems to be a gradient to take.
        wanted = torch.is_grad_enabled()
        return HeadLoss.apply(hidden, weight, bias, labels, self.products, wanted)


class HeadLoss(torch.autograd.Function):
    """Sum over targets of ``logsumexp(logits) - logits[label]``, in float32 or wider."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        labels: torch.Tensor,
        products: Products,
        wanted: bool,
    ) -> torch.Tensor:
        """A scalar; the gradients for a loss of 1 are kept for the backward pass."""
        wide = torch.promote_types(hidden.dtype, torch.float32)
        total = torch.zeros((), dtype=wide, device=hidden.device)
        asked = [wanted and needed for needed in ctx.needs_input_grad]
        to_hidden = torch.empty_like(hidden) if asked[0] else None
        to_weight = torch.zeros_like(weight) if asked[1] else None
        to_bias = torch.zeros_like(weight[:, 0], dtype=wide) if asked[2] else None
        for start in range(0, len(labels), _rows(weight)):
            x, ids = hidden[start : start + _rows(weight)], labels[start : start + _rows(weight)]
            logits = products.linear(x, weight, bias).to(wide)
            top = logits.amax(-1, keepdim=True)
            own = logits.gather(1, ids[:, None])
            powers = logits.sub_(top).exp_()
            sums = powers.sum(-1, keepdim=True)
            total += (sums.log() + top - own).sum()
            if not any(asked):
                continue
            # The gradient of the logits is powers / sums, less 1 at the label; what is done once
            # for each row, not for each entry, is done behind the product.
            powers, share = powers.to(weight.dtype), sums.reciprocal_()
            if to_hidden is not None:
                part = products.times(powers, weight).to(wide).mul_(share)
                to_hidden[start : start + len(ids)] = part.sub_(weight[ids])
            if to_weight is not None:
                to_weight += products.over_rows(powers, (x.to(wide) * share).to(x.dtype))
                to_weight.index_add_(0, ids, x, alpha=-1)
            if to_bias is not None:
                to_bias += share[:, 0] @ powers.to(wide)
                to_bias.index_add_(0, ids, torch.ones_like(share[:, 0]), alpha=-1)
        ctx.save_for_backward(to_hidden, to_weight, to_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        """The kept gradients times that of the loss."""
        kept = (None if part is None else part * grads[0] for part in ctx.saved_tensors)
        return (*kept, None, None, None)


def _rows(weight: torch.Tensor) -> int:
    bound = CPU_BYTES if weight.device.type == "cpu" else GPU_BYTES
    return max(16, bound // (4 * weight.shape[0]))
