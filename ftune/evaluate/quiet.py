"""A model as it is for evaluation: no dropout, no gradient, and afterwards as it was before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode without gradients; each part has its own mode again afterwards."""
    before = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, training in before:
            part.training = training


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a forward pass failed because the device's memory is full (CUDA, MPS or CPU)."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError) or any(w in str(error) for w in words)
