"""Chosen numbers of parameters in a safetensors file: by their places, or whole with a mask.

Of a parameter ``w``, ``w`` holds the trained values and ``w:at`` the numbers of their units (int32
where they fit); or, where more than half was chosen so that this is smaller, ``w`` is whole and
``w:mask`` says which were chosen. Values, not differences: the base plus a difference is rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ftune.errors import ModelError
from ftune.model.chosen import Chosen, Tensors, units

AT, MASK = ":at", ":mask"


def packed(chosen: Chosen, trained: Mapping[str, torch.Tensor]) -> Tensors:
    """The tensors of the file for parameters ``trained``, on the CPU."""
    out: Tensors = {}
    for name, tensor in trained.items():
        at = chosen.units[name].cpu()
        parts = units(tensor, chosen.by)
        wide = len(parts) > torch.iinfo(torch.int32).max
        index = at.to(torch.int64 if wide else torch.int32)
        picked = parts[at].contiguous()
        sparse = picked.nbytes + index.nbytes
        if sparse <= tensor.nbytes + len(parts):  # a mask takes a byte for each unit
            out |= {name: picked, name + AT: index}
        else:
            mask = torch.zeros(len(parts), dtype=torch.bool)
            mask[at] = True
            out |= {name: tensor, name + MASK: mask}
    return out


def unpacked(
    path: Path, by: object, found: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]
) -> tuple[Chosen, Tensors]:
    """The choice, and whole parameters: ``own`` with the file's values in their places.

    A parameter that the model does not have is left as it is, for the caller to name.

    Raises:
        ModelError: places are missing, out of range or not as many as the values.
    """
    wrong = ModelError(f"{path}: its places do not fit its values or this base; copy it again")
    if by not in ("parameter", "row", "module"):
        raise wrong
    chosen, whole = Chosen(str(by), {}), {}
    for name, values in found.items():
        if name.endswith((AT, MASK)):
            if name.removesuffix(AT).removesuffix(MASK) not in found:
                raise wrong
            continue
        if name not in own:
            whole[name] = values
            continue
        tensor = own[name].detach().clone()
        parts = units(tensor, str(by))
        if name + MASK in found:
            mask = found[name + MASK]
            if mask.dtype != torch.bool or mask.shape != (len(parts),):
                raise wrong
            whole[name], chosen.units[name] = values, mask.nonzero().flatten()
            continue
        at = found.get(name + AT)
        if at is None or at.dtype not in (torch.int32, torch.int64) or at.ndim != 1:
            raise wrong
        at = at.long()
        if values.shape != (len(at), parts.shape[1]) or not _places(at, len(parts)):
            raise wrong
        parts[at.to(parts.device)] = values.to(parts.device, parts.dtype)
        whole[name], chosen.units[name] = tensor, at
    return chosen, whole


def _places(at: torch.Tensor, count: int) -> bool:
    """Whether these are ascending numbers below ``count``, at least one."""
    inside = len(at) > 0 and int(at[0]) >= 0 and int(at[-1]) < count
    return inside and bool((at.diff() > 0).all())
