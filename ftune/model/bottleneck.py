"""Bottleneck adapters: small nets with a residual behind parts of each layer of a model.

They hang on the projection that ends a part (attention, feed-forward) as a module of it, called by
a hook, so whatever architecture the model has, its own code stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from ftune.errors import ModelError

NAME = "bottleneck"  # of the module on its projection
ATTENTION = ("attn", "attention")
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.nn.functional.relu,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
}


class Bottleneck(torch.nn.Module):
    """``x + up(activation(down(x)))`` over the last dimension; at first ``x`` itself."""

    def __init__(self, width: int, size: int, activation: str, device: Any) -> None:
        super().__init__()
        self.activation = activation
        self.down = torch.nn.Linear(width, size, device=device)
        self.up = torch.nn.Linear(size, width, device=device)
        torch.nn.init.zeros_(self.up.weight)
        torch.nn.init.zeros_(self.up.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of the shape and dtype of ``x``; computed in the adapter's own, float32."""
        inner = ACTIVATIONS[self.activation](self.down(x.to(self.down.weight.dtype)))
        return x + self.up(inner).to(x.dtype)


def insert(model: Any, size: int, activation: str, variant: str) -> None:
    """Hangs an adapter behind each layer's feed-forward part, and each attention if "houlsby".

    Raises:
        ModelError: the model has no layers with such parts.
    """
    width = model.config.get_text_config().hidden_size
    for projection in places(model, variant):
        device = next(projection.parameters()).device
        projection.add_module(NAME, Bottleneck(width, size, activation, device))
        projection.register_forward_hook(_hook)
    model.ftune_bottleneck = {"size": size, "activation": activation, "variant": variant}


def _hook(module: Any, _: Any, output: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = getattr(module, NAME)(output)
    return found


def told(model: Any) -> Mapping[str, Any] | None:
    """What ``insert`` was given for this model; None where it has no such adapters."""
    return getattr(model, "ftune_bottleneck", None)


def names(model: Any) -> list[str]:
    """The names of the adapters' parameters."""
    return [name for name, _ in model.named_parameters() if f".{NAME}." in name]


def places(model: Any, variant: str) -> list[Any]:
    """The projections at the end of each layer's parts.

    Raises:
        ModelError: there are none.
    """
    from ftune.fast.recompute import blocks

    width = model.config.get_text_config().hidden_size
    found = [p for block in blocks(model) for p in _ends(block, width, variant)]
    if not found:
        raise ModelError(
            f"tune.method: {type(model).__name__} has no layers with a projection to its hidden "
            f"size ({width}) that adapters could stand behind; take lora"
        )
    return found


def _ends(block: Any, width: int, variant: str) -> Iterator[Any]:
    """The last projection to the hidden size of each attention, and the last that is of none."""
    attentions: dict[str, Any] = {}
    last = None
    for name, module in block.named_modules():
        if _outputs(module) != width:
            continue
        parts = name.lower().split(".")
        at = next((i for i, p in enumerate(parts) if any(a in p for a in ATTENTION)), None)
        if at is None:
            last = module
        else:
            attentions[".".join(parts[: at + 1])] = module
    if variant == "houlsby":
        yield from attentions.values()
    if last is not None:
        yield last


def _outputs(module: Any) -> int | None:
    """How many features a linear layer gives; None for other modules."""
    kind = type(module).__name__
    if kind == "Conv1D":
        return int(module.nf)
    if kind in ("Linear", "Linear4bit", "Linear8bitLt"):
        return int(module.out_features)
    return None
