"""Random states: seeded, taken and put back, so that dropout goes on where it stopped."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

Tensors = dict[str, torch.Tensor]


def seed(number: int, process: int) -> None:
    """Seeds Python, numpy and torch, each process on its own."""
    number = (number + process) % 2**32
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)  # every GPU as well


def capture() -> tuple[Tensors, dict[str, Any]]:
    """The states of torch's generators as byte tensors, Python's and numpy's as plain values."""
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    elif torch.backends.mps.is_available():
        tensors["mps"] = torch.mps.get_rng_state()
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    plain = {
        "python": [version, list(numbers), gauss],
        "numpy": [name, np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
    }
    return tensors, plain


def restore(tensors: Tensors, plain: dict[str, Any]) -> None:
    """Puts back what ``capture`` took; a device that isn't there now is left out."""
    torch.set_rng_state(tensors["cpu"].cpu())
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"].cpu())
    elif "mps" in tensors and torch.backends.mps.is_available():
        torch.mps.set_rng_state(tensors["mps"].cpu())
    version, numbers, gauss = plain["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = plain["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
