"""Rows of tokens -> one Batch of tensors, padded on the right or packed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ftune.data.steps import Micro
from ftune.types import Batch

IGNORE = -100  # the label of a token that is not trained

ReadRow = Callable[[int], tuple[Any, Any]]  # a row -> its ids, and which train


def collate(micro: Micro, read: ReadRow, pad_id: int, packed: bool) -> Batch:
    """The tensors of a micro-batch, int64 of shape (lines, longest line), on the CPU.

    The first token of an example is never a target: what stands before it is another example, or
    nothing. In packed batches ``position_ids`` start again at 0 with each example and with the
    padding behind the last one, which is how attention keeps them apart.

    ``read(row)`` gives ids and the trained flags of a row. An idle micro-batch trains nothing.
    """
    examples = [[read(row) for row in line] for line in micro.lines]
    width = max(sum(len(ids) for ids, _ in line) for line in examples)
    shape = (len(examples), width)
    input_ids = np.full(shape, pad_id, dtype=np.int64)
    labels = np.full(shape, IGNORE, dtype=np.int64)
    positions = np.zeros(shape, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    for at, line in enumerate(examples):
        end = 0
        for tokens, trained in line:
            start, end = end, end + len(tokens)
            ids = np.asarray(tokens, dtype=np.int64)
            target = np.array(trained, dtype=bool)
            target[:1] = False
            input_ids[at, start:end] = ids
            labels[at, start:end] = np.where(target & (not micro.idle), ids, IGNORE)
            positions[at, start:end] = np.arange(len(ids))
            mask[at, start:end] = 1
        # Padding goes on counting where there is a mask, and is an example of its own if packed.
        positions[at, end:] = np.arange(width - end) + (0 if packed else end)
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        labels=torch.from_numpy(labels),
        position_ids=torch.from_numpy(positions),
        attention_mask=None if packed else torch.from_numpy(mask),
        rows=tuple(row for line in micro.lines for row in line),
        count=int((labels != IGNORE).sum()),
        examples=sum(len(line) for line in micro.lines),
    )


def targets(read: ReadRow, rows: int) -> np.ndarray:
    """How many tokens of each row are trained, its first one not counted: what a Plan needs."""
    return np.array(
        [int(np.array(read(i)[1], dtype=bool)[1:].sum()) for i in range(rows)], dtype=np.int64
    )
