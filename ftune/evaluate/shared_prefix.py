"""A beginning that many prompts share, such as demonstrations, gone through once for all of them.

Its keys and values are kept as one line and copied into each batch behind the padding, exactly
where they would be made anew: rows that are padded have that much less of it, and go through the
rest of it with their own tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from ftune.evaluate import lining

LEAST = 64  # tokens that prompts have in common; less costs as much as it saves


@dataclass(frozen=True)
class Groups:
    """Which prompts begin alike: the group of each prompt, and the beginning of each group."""

    of: Sequence[int]
    beginnings: Mapping[int, tuple[int, ...]]


def groups(rows: Sequence[Sequence[int]], size: int, least: int = LEAST) -> Groups:
    """Prompts whose first ``least`` tokens are equal are a group where they fill a batch of
    ``size``, or are all the prompts that there are, if more than one.

    It pays where that is so: batches of one group are spared the beginning, and no batch becomes
    smaller. The beginning is all that the whole group has in common, and leaves each prompt one
    token of its own. Prompts without a group have the number -1.
    """
    size = max(2, min(size, len(rows)))
    found: dict[tuple[int, ...], list[int]] = {}
    for place, row in enumerate(rows):
        if len(row) > least:
            found.setdefault(tuple(row[:least]), []).append(place)
    of, beginnings = [-1] * len(rows), {}
    for number, places in enumerate(places for places in found.values() if len(places) >= size):
        beginnings[number] = _common([rows[place] for place in places])
        for place in places:
            of[place] = number
    return Groups(of, beginnings)


def _common(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The longest beginning of all rows that is shorter than each of them."""
    length = min(len(row) for row in rows) - 1
    for left, right in pairwise(rows):
        differing = (i for i in range(length) if left[i] != right[i])
        length = next(differing, length)
    return tuple(rows[0][:length])


@dataclass
class Shared:
    """The beginnings of ``groups`` for one model; holds the keys and values of one at a time."""

    model: Any
    groups: Groups
    spared: int = 0  # prompt tokens that were not gone through
    _number: int = -1
    _layers: list[tuple[torch.Tensor, torch.Tensor]] | None = field(default=None, repr=False)

    def cache(self, number: int, rows: Sequence[Sequence[int]], copies: int) -> Any | None:
        """What ``generate`` takes as ``past_key_values`` for ``rows`` of a group, padded on the
        left to the longest; None where the model keeps no plain keys and values."""
        beginning = self.groups.beginnings.get(number)
        if beginning is None or not fits(self.model):
            return None
        if number != self._number:
            self._layers, self._number = None, number  # the old one goes before the new one comes
            self._layers = _through(self.model, beginning)
        if self._layers is None:
            return None
        longest = max(len(row) for row in rows)
        missing = [min(longest - len(row), len(beginning)) for row in rows]
        cache = DynamicCache()
        for at, (keys, values) in enumerate(self._layers):
            cache.update(_spread(keys, missing, copies), _spread(values, missing, copies), at)
        self.spared += sum(len(beginning) - each for each in missing)
        return cache

    def give_back(self) -> None:
        """Frees the memory, and takes no more: a batch did not fit."""
        self._layers, self._number, self.groups = None, -1, Groups(self.groups.of, {})


def fits(model: Any) -> bool:
    """Whether a beginning can stand behind padding: a decoder without trained vectors in front."""
    base = lining.base_of(model)
    return not base.config.is_encoder_decoder and not lining.virtual_tokens(model)


def _through(model: Any, ids: Sequence[int]) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
    """Keys and values of each layer, (1, heads, tokens, size); None where a layer keeps others:
    those of a sliding window are gone when the window has passed."""
    base = lining.base_of(model)
    device = base.get_input_embeddings().weight.device
    line = torch.tensor([list(ids)], dtype=torch.long, device=device)
    # The body alone: of the beginning nobody wants to know what follows.
    body = getattr(base, base.base_model_prefix, base)
    found = body(input_ids=line, attention_mask=torch.ones_like(line), use_cache=True)
    cache = getattr(found, "past_key_values", None)
    if type(cache) is not DynamicCache:
        return None
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    for layer in cache.layers:
        if type(layer) is not DynamicLayer or layer.keys is None or layer.values is None:
            return None
        if layer.keys.ndim != 4 or layer.keys.shape[2] != len(ids):
            return None
        kept.append((layer.keys, layer.values))
    return kept or None


def _spread(one: torch.Tensor, missing: Sequence[int], copies: int) -> torch.Tensor:
    """A line of each row, that begins ``missing`` columns later; ``copies`` of each for beams."""
    lines = one.new_zeros((len(missing), *one.shape[1:]))
    for line, late in enumerate(missing):
        lines[line, :, late:] = one[0, :, : one.shape[2] - late]
    return lines.repeat_interleave(copies, 0) if copies > 1 else lines
