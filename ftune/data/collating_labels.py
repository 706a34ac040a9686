"""Labelled rows -> one Batch of tensors, padded on the right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ftune.data.collating import IGNORE
from ftune.data.steps import Micro
from ftune.types import Batch, Encoded


def collate_labelled(micro: Micro, read: Callable[[int], Encoded], pad_id: int) -> Batch:
    """The tensors of a micro-batch on the CPU: a line for each text, several of some rows.

    ``targets`` are those of the rows, ``labels`` nothing. An idle micro-batch has no target.
    """
    numbers = [row for line in micro.lines for row in line]
    rows = [read(number) for number in numbers]
    lengths = [length for row in rows for length in (row.lines or [len(row.ids)])]
    shape = (len(lengths), max(lengths))
    input_ids = np.full(shape, pad_id, dtype=np.int64)
    kinds = np.zeros(shape, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    at = 0
    for row in rows:
        start = 0
        for length in row.lines or [len(row.ids)]:
            input_ids[at, :length] = row.ids[start : start + length]
            if len(row.kinds):
                kinds[at, :length] = row.kinds[start : start + length]
            mask[at, :length] = 1
            start += length
            at += 1
    targets = np.full((len(rows), max(len(row.targets) for row in rows)), float(IGNORE))
    if not micro.idle:
        for number, row in enumerate(rows):
            targets[number, : len(row.targets)] = row.targets
    typed = any(len(row.kinds) for row in rows)
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        labels=torch.full(shape, IGNORE),
        position_ids=torch.arange(shape[1]).expand(shape),
        attention_mask=torch.from_numpy(mask),
        rows=tuple(numbers),
        count=0 if micro.idle else sum(row.count for row in rows),
        examples=len(rows),
        targets=torch.from_numpy(targets),
        token_type_ids=torch.from_numpy(kinds) if typed else None,
        lines=tuple(len(row.lines) or 1 for row in rows),
    )
