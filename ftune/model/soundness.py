"""Checks that every weight of a model was read, and that all of them are numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ftune.errors import ModelError

SHOWN = 5  # tensors named in a message


def names(found: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    ordered = sorted(found)
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + more


def check_complete(model: str, info: Mapping[str, Any]) -> None:
    """Refuses a model that has drawn layers, or whose files hold weights that it has no place for.

    Args:
        model: what to call it.
        info: ``output_loading_info`` of ``from_pretrained``.
    """
    problems = {
        "are missing in its files, so they would be random": info["missing_keys"],
        "are in its files but nowhere in the model": info["unexpected_keys"],
        "have another shape than config.json says": [str(k[0]) for k in info["mismatched_keys"]],
        "could not be read": [str(message) for message in info["error_msgs"]],
    }
    told = [f"{names(found)} {what}" for what, found in problems.items() if found]
    if told:
        raise ModelError(
            f"{model}: config.json and weights don't belong together: {'; '.join(told)}; "
            "download the model again, or take one whose architecture is a causal language model"
        )


def check_tensors(model: str, tensors: Iterable[tuple[str, Any]], dtype: object = None) -> None:
    """Refuses NaN and infinity, naming the tensor."""
    for name, tensor in tensors:
        if not is_finite(tensor):
            text = str(dtype).removeprefix("torch.")
            hint = "; its range is small, try bfloat16" if text == "float16" else ""
            raise ModelError(f"{model}: tensor {name} holds NaN or infinity{hint}")


def check_files(paths: Iterable[Path]) -> None:
    """The same for safetensors files, one tensor at a time: quantization would hide a NaN."""
    from safetensors import safe_open

    for path in paths:
        with safe_open(path, framework="pt") as opened:
            names_there = list(opened.keys())
            check_tensors(str(path), ((name, opened.get_tensor(name)) for name in names_there))


def is_finite(tensor: Any) -> bool:
    """Whether all numbers are finite; ``aminmax`` hands NaN on, and takes no memory."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    if tensor.element_size() == 1:  # 8-bit floats have no aminmax
        tensor = tensor.float()
    low, high = tensor.detach().aminmax()
    return bool((low.isfinite() & high.isfinite()).item())
