"""Nested state of optimizers and schedules as tensors (safetensors) and plain values (JSON)."""

from __future__ import annotations

from typing import Any

import torch

TENSOR = "__tensor__"
INT_KEYS = "__int_keys__"


def flatten(value: Any, name: str) -> tuple[Any, dict[str, torch.Tensor]]:
    """A JSON skeleton of ``value``, and its tensors under dotted names that start with ``name``.

    A tensor that is there twice (8-bit optimizers share their tables) is written once.

    Raises:
        TypeError: a value is neither a tensor nor plain; nothing is pickled, ever.
    """
    tensors: dict[str, torch.Tensor] = {}
    names: dict[int, str] = {}

    def walk(value: Any, name: str) -> Any:
        if isinstance(value, torch.Tensor):
            if id(value) not in names:
                names[id(value)] = name
                tensors[name] = value
            return {TENSOR: names[id(value)]}
        if isinstance(value, dict):
            numbers = bool(value) and all(isinstance(key, int) for key in value)
            items = {str(k): walk(v, f"{name}.{k}") for k, v in value.items()}
            return {INT_KEYS: items} if numbers else items
        if isinstance(value, (list, tuple)):
            return [walk(v, f"{name}.{i}") for i, v in enumerate(value)]
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise TypeError(f"{name}: {type(value).__name__} can't be written without pickle")

    return walk(value, name), tensors


def unflatten(skeleton: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """What ``flatten`` took apart; tuples come back as lists."""
    if isinstance(skeleton, dict):
        if TENSOR in skeleton:
            return tensors[skeleton[TENSOR]]
        if INT_KEYS in skeleton:
            return {int(k): unflatten(v, tensors) for k, v in skeleton[INT_KEYS].items()}
        return {k: unflatten(v, tensors) for k, v in skeleton.items()}
    if isinstance(skeleton, list):
        return [unflatten(v, tensors) for v in skeleton]
    return skeleton
