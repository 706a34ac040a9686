"""LoftQ: LoRA matrices that begin with what 4 bits took away from the base.

Li et al. 2023, https://arxiv.org/abs/2310.08659, one iteration. PEFT has it for CUDA alone, and
leaves out the scale ``lora_alpha / r``, by which what it makes up for would be multiplied.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ftune.errors import ModelError
from ftune.model import weights


@torch.no_grad()
def begin(tuned: Any) -> None:
    """Sets both matrices of every LoRA layer on 4 bits to the best of their rank, by its SVD.

    Raises:
        ModelError: the base's own weights of a layer are not in its files.
    """
    base = tuned.get_base_model()
    read = _Reader(Path(base.name_or_path))
    for name, module in base.named_modules():
        weight: Any = getattr(getattr(module, "base_layer", None), "weight", None)
        if not hasattr(module, "lora_A") or not hasattr(weight, "quant_state"):
            continue
        full = read.tensor(f"{name}.weight").to(weight.device, torch.float32)
        for adapter, down in module.lora_A.items():
            lost = full - dequantized(weight).to(torch.float32)
            u, s, v = torch.linalg.svd(lost, full_matrices=False)
            rank = down.weight.shape[0]
            root = s[:rank].sqrt()
            up = module.lora_B[adapter].weight
            down.weight.copy_(root[:, None] * v[:rank])
            up.copy_(u[:, :rank] * root / module.scaling[adapter])


def dequantized(weight: Any) -> torch.Tensor:
    """A 4-bit weight as the numbers that it stands for."""
    import bitsandbytes as bnb

    found: torch.Tensor = bnb.functional.dequantize_4bit(weight.data, weight.quant_state)
    return found


class _Reader:
    """The tensors of a model's files, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = dict(self._names(folder))

    @staticmethod
    def _names(folder: Path) -> Iterator[tuple[str, Path]]:
        from safetensors import safe_open

        for path in weights.files(folder):
            with safe_open(path, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118
                    yield name, path

    def tensor(self, name: str) -> torch.Tensor:
        """The tensor called so, or so without the name of the body before it.

        Raises:
            ModelError: there is none.
        """
        from safetensors import safe_open

        there = next((n for n in (name, name.partition(".")[2]) if n in self._files), None)
        if there is None:
            raise ModelError(
                f"tune.init_lora_weights: loftq needs the base's own {name}, which is not in "
                f"{self._folder}; take true or gaussian"
            )
        with safe_open(self._files[there], framework="pt") as opened:
            found: torch.Tensor = opened.get_tensor(there)
        return found
