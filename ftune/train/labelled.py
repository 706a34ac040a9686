"""What the objectives with labels share: the model called on a batch, and idle rows left out."""

from __future__ import annotations

from typing import Any

from ftune.fast.pooling import at_last_tokens
from ftune.train.tasked import task_ids
from ftune.types import Batch

NONE = -100  # the target of a row, or of a token, that has none


def outputs(model: Any, batch: Batch) -> Any:
    """The model's output on the lines of a batch."""
    given = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if batch.token_type_ids is not None:
        given["token_type_ids"] = batch.token_type_ids
    with at_last_tokens(model, batch.attention_mask):
        return model(**given, **task_ids(batch))


def wide(logits: Any) -> Any:
    """In 32 bits, or in 64 if they are."""
    import torch

    return logits.to(torch.promote_types(logits.dtype, torch.float32))
