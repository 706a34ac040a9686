"""Split tensors written to a safetensors file one at a time: no process holds the whole of it.

All processes gather each tensor alike; the first one writes it at its place and forgets it. Format:
https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from ftune.train import gathering

NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def write(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Writes the file, in the first process; each other one must call ``follow`` meanwhile.

    Raises:
        RunError: what was gathered is not what the processes hold.
        OSError: it can't be written.
    """
    header: dict[str, dict[str, object]] = {}
    place = 0
    for name in _order(tensors):
        tensor = tensors[name]
        end = place + tensor.numel() * tensor.element_size()
        kind, shape = NAMES[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for full in _gathered(tensors):
            file.write(full.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def follow(tensors: Mapping[str, torch.Tensor]) -> None:
    """Takes part in the gathering of a file that the first process writes, if it is split.

    Raises:
        RunError: what was gathered is not what the processes hold.
    """
    if any(map(gathering.is_split, tensors.values())):
        for _ in _gathered(tensors):
            pass


def _order(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Wide types first, so that each tensor begins where one of its numbers may."""
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def _gathered(tensors: Mapping[str, torch.Tensor]) -> Iterator[torch.Tensor]:
    wrong: list[str] = []
    for name in _order(tensors):
        tensor = tensors[name].detach()
        if gathering.is_split(tensor):
            tensor, right = gathering.full(tensor)
            wrong += [] if right else [name]
        yield tensor
    gathering.agree(wrong)
