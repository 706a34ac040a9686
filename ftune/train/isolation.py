"""Looks, before a training on packed rows, whether the model really keeps them apart."""

from __future__ import annotations

from typing import Any

import torch

from ftune.errors import ModelError
from ftune.train.job import Job

LENGTH = 4  # tokens of each of the two examples that are tried


def check(job: Job) -> None:
    """Does nothing for rows that aren't packed.

    Raises:
        ModelError: a packed example changes with its neighbour.
    """
    first = job.plan.epoch(0)[0].micros[0][0]
    if job.collate(first).attention_mask is None and not isolated(job.model):
        raise ModelError(
            f"data.packing: with {type(job.model).__name__} and this tuning method, packed "
            "examples see each other; set packing to false (prompt tuning, models with a "
            "recurrent state and some attention kernels can't keep them apart)"
        )


@torch.no_grad()
def isolated(model: Any) -> bool:
    """Whether an example's logits stay the same when the one packed before it changes."""
    device = next(model.parameters()).device
    own = torch.arange(3, 3 + LENGTH)
    lines = torch.stack([torch.cat([own + shift, own]) for shift in (0, LENGTH)]).to(device)
    positions = torch.arange(LENGTH).repeat(2).expand(2, -1).to(device)
    was_training = model.training
    model.eval()
    try:
        logits = model(
            input_ids=lines, attention_mask=None, position_ids=positions, use_cache=False
        ).logits[:, -LENGTH:]
    finally:
        model.train(was_training)
    # 8-bit layers keep columns in 16 bits that depend on all lines of a batch.
    rounded = logits.dtype != torch.float32 or getattr(model, "is_quantized", False)
    bound = 1e-2 if rounded else 1e-5
    difference = (logits[0] - logits[1]).float().abs().max()
    return bool(difference <= bound * logits.float().abs().max().clamp(min=1.0))
