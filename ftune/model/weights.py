"""safetensors files of a model folder: which there are, whether they are whole, and what they hold.

Headers are read by hand and checked before any library opens a file, so that a broken or hostile
file is refused at once and in bounded memory. Format: https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ftune.errors import ModelError

MAX_HEADER = 16 * 2**20  # bytes; a header of ten thousand tensors takes about 1.5 MB
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4,
    "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
LAYERS = re.compile(r"n_layers?|(?:num_|n_)(?:\w+_)?layers")
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
_CHUNK, _CHUNKS = 256, 16  # bytes, and how many of them stand for a tensor in a fingerprint


@dataclass(frozen=True)
class TensorInfo:
    """One entry of a header; ``start`` and ``end`` are byte positions in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def inside(root: Path, path: Path) -> Path:
    """``path``, if it is a plain file that lies below ``root`` once links are followed.

    A snapshot of the hub's cache links to the blobs two folders above it, which counts as inside.

    Raises:
        ModelError: it is missing, lies elsewhere, or is no plain file (a pipe, a device).
    """
    bound = root.resolve()
    if bound.parent.name == "snapshots":
        bound = bound.parent.parent
    target = path.resolve()
    if not target.is_relative_to(bound):
        raise ModelError(f"{path}: leads out of the model's folder, to {target}; put a copy there")
    if not target.exists():
        raise ModelError(f"{path}: is missing; the model is not complete, download it again")
    if not target.is_file():
        raise ModelError(f"{path}: is not a plain file; replace it by the model's own")
    return path


def read_json(root: Path, name: str) -> dict[str, Any]:
    """A JSON object of the model's folder.

    Raises:
        ModelError: it is missing, too large, or not a JSON object.
    """
    path = inside(root, root / name)
    if path.stat().st_size > 256 * 2**20:
        raise ModelError(f"{path}: has {path.stat().st_size:,} bytes; no such file is that large")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: is not valid JSON ({error}); download it again") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: holds {type(value).__name__} instead of an object")
    return value


def files(root: Path) -> list[Path]:
    """The safetensors files that make up the model in ``root``, sorted.

    Raises:
        ModelError: there are none (pickled weights are named with their remedy), or the index
            names one that is missing or lies outside.
    """
    if (root / SINGLE).exists() or (root / SINGLE).is_symlink():
        return [inside(root, root / SINGLE)]
    if not (root / INDEX).exists():
        raise ModelError(_no_weights(root))
    names = read_json(root, INDEX).get("weight_map")
    if not isinstance(names, dict) or not names or not all(map(_is_text, names.values())):
        raise ModelError(f"{root / INDEX}: has no weight_map; download it again")
    return [inside(root, root / name) for name in sorted(set(names.values()))]


def check_config(root: Path) -> None:
    """Refuses a config.json that speaks of another model than the one in the files.

    A model is made before its weights are looked at, and one of a billion layers never would be.

    Raises:
        ModelError: it has more layers than there are tensors, or says of plain numbers that they
            are quantized; or a file is missing or damaged.
    """
    told = read_json(root, "config.json")
    parts = (told, *(part for part in told.values() if isinstance(part, dict)))
    infos = [info for path in files(root) for info in header(path).values()]
    tensors = len(infos)
    if told.get("quantization_config") and not any(BITS[info.dtype] <= 8 for info in infos):
        raise ModelError(
            f"{root / 'config.json'}: has a quantization_config, and no tensor of the model's "
            "files has 8 bits or fewer; take it out, and write model.quantization in the recipe"
        )
    for part in parts:
        for key, value in part.items():
            if LAYERS.fullmatch(key) and isinstance(value, int) and value > tensors:
                raise ModelError(
                    f"{root / 'config.json'}: {key} is {value:,}, and the model's files hold "
                    f"{tensors:,} tensors in all; config and weights don't belong together"
                )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _no_weights(root: Path) -> str:
    pickled = sorted(p.name for pattern in PICKLES for p in root.glob(pattern))
    if pickled:
        return (
            f"{root}: has only pickled weights ({pickled[0]}), which can run code when they are "
            "read; take a revision with model.safetensors, or convert it once where you trust it: "
            "AutoModelForCausalLM.from_pretrained(...).save_pretrained(folder)"
        )
    if list(root.glob("*.gguf")):
        return f"{root}: has GGUF weights, which can't be trained; take the safetensors model"
    return f"{root}: has neither {SINGLE} nor {INDEX}; is it a model's folder?"


def header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a safetensors file, checked: names once, no overlap, the size as it should be.

    Raises:
        ModelError: the file is not whole or not safetensors.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 10 or length > min(MAX_HEADER, size - 8):
            raise ModelError(
                f"{path}: is no safetensors file or is cut off ({size:,} bytes, a header of "
                f"{length:,}); a pickle under this name is not read: download it again"
            )
        text = handle.read(length)
    try:
        entries = json.loads(text, object_pairs_hook=_unique)
        entries.pop("__metadata__", None)
        infos = {name: _info(entry, 8 + length) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: its header is damaged ({error}); download it again") from error
    _check_layout(path, infos, 8 + length, size)
    return infos


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _info(entry: dict[str, Any], offset: int) -> TensorInfo:
    start, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not all(type(n) is int and n >= 0 for n in (start, end, *shape)):
        raise ValueError("a size is not a whole number")
    bits = prod(shape) * BITS[entry["dtype"]]
    if bits != 8 * (end - start):
        raise ValueError(f"{end - start} bytes for shape {list(shape)} of {entry['dtype']}")
    return TensorInfo(entry["dtype"], shape, offset + start, offset + end)


def _check_layout(path: Path, infos: dict[str, TensorInfo], start: int, size: int) -> None:
    position = start
    for name, info in sorted(infos.items(), key=lambda item: (item[1].start, item[1].end)):
        if info.start != position:
            what = "overlaps another" if info.start < position else "leaves a gap before it"
            raise ModelError(f"{path}: tensor {name} {what}; the file is damaged")
        position = info.end
    if position != size:
        raise ModelError(
            f"{path}: has {size:,} bytes where its header says {position:,}; download it again"
        )


def fingerprint(paths: Iterable[Path]) -> str:
    """A digest that tells one base from another, whatever shards it lies in; 16 hex digits.

    Over names, types and shapes of all tensors and 16 pieces of 256 bytes spread over each one, so
    that it takes milliseconds a gigabyte; it is no proof against damage, which sha256 is for.
    """
    digests = []
    for path in paths:
        infos = header(path)
        with path.open("rb") as handle:
            for name, info in infos.items():
                digest = hashlib.sha256(f"{name}|{info.dtype}|{info.shape}|".encode())
                span = max(info.end - info.start - _CHUNK, 0)
                for piece in range(_CHUNKS):
                    handle.seek(info.start + span * piece // (_CHUNKS - 1))
                    digest.update(handle.read(min(_CHUNK, info.end - info.start)))
                digests.append(digest.hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()[:16]
