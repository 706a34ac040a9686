"""Several trained parts on one base in memory: each put on and taken off again, exactly.

What loading a trained part does to the base is noted once: which modules stand where, and which
tensors are others. To switch is to put these references back, so nothing is computed, nothing is
read, and nothing can drift. It holds for every method, since none needs to be known.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.errors import ModelError
from ftune.model import adapters, deltas, soundness, weights
from ftune.model.loading import Loaded
from ftune.run.progress import Progress


@dataclass(frozen=True)
class _State:
    """The attributes of the base's modules and settings, and what its tensors hold."""

    attributes: tuple[dict[str, Any], ...]
    data: tuple[Any, ...]


class Switcher:
    """The base with one of several trained parts at a time.

    A part keeps its tensors on the base's device beside the base. A fully trained model is a model
    of its own, and takes the memory of one.
    """

    def __init__(self, base: Loaded) -> None:
        """``base`` is plain; nobody else may use its model from now on."""
        self._base = base
        base.model.requires_grad_(False)
        base.model.eval()
        self._objects = tuple(_objects(base.model))
        self._tensors = dict(_tensors(base.model))
        self._plain = self._state()
        self._sums = {key: _sum(t) for key, t in self._tensors.items()}
        self._parts: dict[str, tuple[Any, _State]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The parts, in the order in which they were added."""
        return tuple(self._parts)

    def add(self, name: str, folder: Path, progress: Progress | None = None) -> None:
        """Reads what was trained from ``folder``; the base is plain afterwards.

        Raises:
            ModelError: as of ``adapters.load``, or it changes the base in a way that can't be
                undone.
        """
        self._put(self._plain)
        try:
            for key in _overwritten(folder) & set(self._tensors):
                tensor = self._tensors[key]
                tensor.data = tensor.data.clone()  # the plain one is kept as it is
            model = adapters.load(self._base, folder, progress=progress)
            state = self._state()
            self._check_untouched(folder, state)
        finally:
            self._put(self._plain)
        self._parts[name] = model, state

    def use(self, name: str) -> Any:
        """The model with the part ``name``; one that was handed out before must not be used on."""
        model, state = self._parts[name]
        self._put(state)
        return model

    def _state(self) -> _State:
        return _State(
            tuple(_attributes(each) for each in self._objects),
            tuple(t.data for t in self._tensors.values()),
        )

    def _put(self, state: _State) -> None:
        for each, attributes in zip(self._objects, state.attributes, strict=True):
            vars(each).clear()
            vars(each).update(_copied(attributes))
        for tensor, data in zip(self._tensors.values(), state.data, strict=True):
            if tensor.data_ptr() != data.data_ptr():
                tensor.data = data

    def _check_untouched(self, folder: Path, state: _State) -> None:
        """Raises ModelError where a tensor that all parts share was written into."""
        held = zip(self._tensors, self._plain.data, state.data, strict=True)
        wrong = {
            key
            for key, plain, now in held
            if plain.data_ptr() == now.data_ptr() and _sum(plain) != self._sums[key]
        }
        if wrong:
            raise ModelError(
                f"{folder}: loading it writes into the base's own {soundness.names(wrong)}, which "
                "the other adapters stand on; ask it in an ftune generate of its own, and this one "
                "without it"
            )


def _objects(model: Any) -> Iterator[Any]:
    """All modules of ``model``, and the settings that they hold."""
    from transformers import GenerationConfig, PretrainedConfig

    seen: set[int] = set()
    for module in model.modules():
        yield module
        waiting = list(vars(module).values())
        while waiting:
            value = waiting.pop()
            if isinstance(value, (PretrainedConfig, GenerationConfig)) and id(value) not in seen:
                seen.add(id(value))
                waiting += vars(value).values()
                yield value


def _tensors(model: Any) -> Iterator[tuple[str, Any]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _sum(tensor: Any) -> int:
    """The sum of the tensor's numbers, their bits taken for whole numbers: changed if they are."""
    import torch

    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return int(tensor.data.view(whole[tensor.element_size()]).sum(dtype=torch.int64))


def _attributes(each: Any) -> dict[str, Any]:
    return _copied(vars(each))


def _copied(attributes: dict[str, Any]) -> dict[str, Any]:
    """The same attributes, with containers of their own."""
    return {
        key: copy.copy(value) if isinstance(value, (dict, list, set)) else value
        for key, value in attributes.items()
    }


def _overwritten(folder: Path) -> set[str]:
    """The names of the base's own tensors that loading ``folder`` writes into, and others."""
    if (folder / deltas.CONFIG).is_file():
        return _names(folder, deltas.WEIGHTS)
    if not (folder / adapters.CONFIG).is_file():
        return set()
    found = {
        name.removeprefix("base_model.model.")
        .replace(".base_layer.", ".")
        .replace(".original_module.", ".")
        for name in _names(folder, adapters.WEIGHTS)
    }
    start = weights.read_json(folder, adapters.CONFIG).get("init_lora_weights", True)
    if start not in (True, False, "gaussian", "orthogonal"):  # takes weights out of the base
        found |= {f"{name.rpartition('.lora_A')[0]}.weight" for name in found if ".lora_A" in name}
    return found


def _names(folder: Path, file: str) -> set[str]:
    path = folder / file
    return set(weights.header(weights.inside(folder, path))) if path.is_file() else set()
