"""Which layer of a model each trained parameter belongs to, counted from the top.

A layer is an entry of the model's list of transformer layers; an encoder's stand below its
decoder's. What comes behind them (the last norm, a head) counts with the top layer, and what comes
before them (embeddings) is a layer of its own below the lowest. A head that shares the embeddings'
weights is embeddings: see docs/decisions/072-layer-by-layer.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftune.errors import ModelError

BEFORE = ("embed", "project_in")  # in names of what stands before the layers besides embeddings
EMBEDDINGS = -1  # their place; the lowest layer's is 0


@dataclass(frozen=True)
class Stack:
    """Layers that follow each other; the first has the place ``first`` among all of the model."""

    parent: str  # the module that holds the lists, with a dot behind unless it is the model
    lists: tuple[str, ...]  # names below it; more than one where layers are in parallel lists
    first: int
    count: int

    def place(self, name: str) -> int | None:
        """The place of the layer that holds this parameter; None if it is in none of these."""
        for each in self.lists:
            start = f"{self.parent}{each}."
            if name.startswith(start):
                return self.first + int(name.removeprefix(start).partition(".")[0])
        return None


def layer_groups(model: Any) -> list[tuple[str, int, tuple[str, ...]]]:
    """The trained parameters by layer, the top one first: what it is called, how many layers it
    stands below the highest trained one, and the names of its parameters.

    Raises:
        ModelError: the model has no list of layers.
    """
    found = stacks(model)
    if not found:
        raise ModelError(
            f"train: {type(model).__name__} has no list of layers, which layer_rate_decay and "
            "unfreeze_every go by; remove them"
        )
    ends = _ends(model)
    owners = _embedding_owners(model)
    places: dict[int, list[str]] = {}
    inside: set[int] = set()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        place = place_of(name, found)
        if place is None:
            place = _outside(name, ends.get(id(parameter)), owners, found)
        else:
            inside.add(place)
        places.setdefault(place, []).append(name)
    top = max(places, default=0)
    return [
        (_called(place, found, place in inside), top - place, tuple(places[place]))
        for place in sorted(places, reverse=True)
    ]


def place_of(name: str, found: Sequence[Stack]) -> int | None:
    """The place of the layer that holds this parameter; None if it is in none."""
    return next((p for stack in found if (p := stack.place(name)) is not None), None)


def stacks(model: Any) -> list[Stack]:
    """Outermost lists of modules that have parameters, lowest first; parallel ones are one."""
    import torch

    found: dict[str, dict[str, int]] = {}
    taken: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.ModuleList) or name.startswith(tuple(taken)):
            continue
        if next(module.parameters(), None) is None:
            continue
        taken.append(f"{name}.")
        parent, _, own = name.rpartition(".")
        found.setdefault(f"{parent}." if parent else "", {})[own] = len(module)
    made: list[Stack] = []
    for parent, lists in found.items():
        count = max(lists.values())
        kept = tuple(own for own, length in lists.items() if length == count)
        made.append(Stack(parent, kept, sum(s.count for s in made), count))
    return made


def _ends(model: Any) -> Mapping[int, str]:
    """The parameters of the input embeddings and of the head, by their ids."""
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    found = {id(p): "head" for p in (head.parameters() if head is not None else ())}
    return found | {id(p): "embeddings" for p in embeddings.parameters()}


def _embedding_owners(model: Any) -> tuple[str, ...]:
    import torch

    names = (n for n, m in model.named_modules() if isinstance(m, torch.nn.Embedding))
    return tuple(f"{name}." for name in names)


def _outside(name: str, end: str | None, owners: tuple[str, ...], found: list[Stack]) -> int:
    """The place of a parameter that is in no layer."""
    top = found[-1]
    if end == "embeddings":
        return EMBEDDINGS
    if end is None:
        if name.startswith(owners) or any(word in name for word in BEFORE):
            return EMBEDDINGS
        # An encoder's last norm goes with the encoder's top layer.
        top = next((s for s in found if s.parent and name.startswith(s.parent)), top)
    return top.first + top.count - 1


def _called(place: int, found: list[Stack], inside: bool) -> str:
    if place == EMBEDDINGS:
        return "embeddings"
    stack = next(s for s in found if s.first <= place < s.first + s.count)
    part = stack.parent.rstrip(".").rpartition(".")[2] if len(found) > 1 else ""
    if not inside:
        return "head"
    return f"{part} layer {place - stack.first}".strip()
