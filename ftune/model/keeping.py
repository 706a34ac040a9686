"""A fully trained model written while it is split: one file of weights after another is gathered.

The files are those that ``save_pretrained`` writes, in pieces of at most ``PIECE`` bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ftune.model import deltas, manifest, soundness, weights
from ftune.model.attaching import is_peft
from ftune.model.quiet import quiet
from ftune.run import atomic

PIECE = 5 * 10**9
Gather = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def goes(model: Any) -> bool:
    """Whether what is trained is the model itself, with tensors that are written as they are."""
    from transformers.core_model_loading import WeightConverter

    if is_peft(model) or deltas.is_delta(model):
        return False
    used = getattr(model, "_weight_conversions", None) or ()
    return not any(isinstance(each, WeightConverter) for each in used)


def save(
    model: Any,
    folder: Path,
    gather: Gather,
    *,
    first: bool,
    base: Mapping[str, Any],
    tokenizer: Any,
    method: str,
    beside: Sequence[Path] = (),
) -> None:
    """As ``adapters.save``, called by all processes alike; the ``first`` one writes.

    ``gather`` puts split tensors together, and gives them to the first process.

    Raises:
        ModelError: a tensor is not finite.
        RunError: it can't be written, or what was gathered is not what the processes hold.
    """
    with quiet():
        names = _names(model)
    state = model.state_dict()
    pieces = _pieces({new: state[old] for new, old in names.items()})
    with manifest.replaced(folder) if first else nullcontext() as part:
        placed: dict[str, str] = {}
        for number, own in enumerate(pieces, 1):
            found = gather({new: state[names[new]] for new in own})
            if part is not None:
                soundness.check_tensors("the trained weights", found.items())
                name = f"model-{number:05d}-of-{len(pieces):05d}.safetensors"
                name = weights.SINGLE if len(pieces) == 1 else name
                placed |= dict.fromkeys(found, name)
                _write(found, part / name)
            del found
        if part is not None:
            if len(pieces) > 1:
                size = sum(t.numel() * t.element_size() for t in state.values())
                index = {"metadata": {"total_size": size}, "weight_map": placed}
                atomic.write_json(part / weights.INDEX, index)
            _beside(model, part, tokenizer)
            for path in beside:
                shutil.copyfile(path, part / path.name)
            manifest.write(part, method, base)


def _write(tensors: Mapping[str, Any], path: Path) -> None:
    from safetensors.torch import save_file

    save_file({n: t.contiguous() for n, t in tensors.items()}, path, {"format": "pt"})


def _names(model: Any) -> dict[str, str]:
    """What is written, by the name that it has in files; of tied tensors one."""
    import torch
    from transformers.core_model_loading import revert_weight_conversion

    ignored = set(getattr(model, "_keys_to_ignore_on_save", None) or ())
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    own = [n for n in model.state_dict() if n not in ignored]
    seen: dict[int, str] = {}
    for name in sorted(own, key=lambda n: n in tied):
        seen.setdefault(id(model.get_parameter_or_buffer(name)), name)
    kept = set(seen.values())
    marks = {name: torch.empty(1, device="meta") for name in own if name in kept}
    known = {id(mark): name for name, mark in marks.items()}
    return {new: known[id(mark)] for new, mark in revert_weight_conversion(model, marks).items()}


def _pieces(tensors: Mapping[str, Any]) -> list[list[str]]:
    """Names for each file, in order."""
    found: list[list[str]] = [[]]
    room = PIECE
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if found[-1] and size > room:
            found.append([])
            room = PIECE
        found[-1].append(name)
        room -= size
    return found


def _beside(model: Any, part: Path, tokenizer: Any) -> None:
    """What ``save_pretrained`` writes beside the weights."""
    with quiet():
        model.config.dtype = str(model.dtype).removeprefix("torch.")
        model.config.architectures = [type(model).__name__.removeprefix("FSDP")]
        model.config.save_pretrained(str(part))
        if model.can_generate():
            model.generation_config.save_pretrained(str(part))
        tokenizer.save_pretrained(str(part))
