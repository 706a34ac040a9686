"""Blocks that keep their input alone where a row is long: the rest is made again, backward.

Chen et al. 2016, https://arxiv.org/abs/1604.06174, but only for as many blocks as a bound asks for.
What is made again is made by the same code of the same numbers, so no gradient changes by a bit.
Batches of several rows that would keep more are taken in parts first (``train.gradient``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

KEPT_BYTES = 100_000_000  # that all blocks together may keep for the backward pass


def blocks(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers of a transformers model that may be made again; none for other models."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]


def forward_of(module: Any, number: int, count: int, bytes_a_token: float) -> Callable[..., Any]:
    """A forward for block ``number`` of ``count``, each of so many bytes a token.

    Kept are the last blocks, ``KEPT_BYTES`` of them: backward, they are gone before the first ones
    are made again. How many follows from the batch's shape alone, so a training that goes on after
    a stop does the same.
    """
    own = module.forward

    def forward(*args: Any, **options: Any) -> Any:
        first = args[0] if args else None
        if not isinstance(first, torch.Tensor) or first.dim() != 3:
            return own(*args, **options)
        cached = any(options.get(n) is not None for n in ("past_key_values", "layer_past"))
        done = getattr(module, "gradient_checkpointing", False)
        if cached or done or not torch.is_grad_enabled() or not module.training:
            return own(*args, **options)
        tokens = first.shape[0] * first.shape[1]
        if number >= count - int(KEPT_BYTES / (bytes_a_token * tokens)):
            return own(*args, **options)
        return checkpoint(own, *args, use_reentrant=False, **options)

    return forward
