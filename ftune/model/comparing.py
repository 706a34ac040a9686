"""How far two models are from each other, by their logits on the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ftune.model import heads

HELD = 2**27  # numbers that the logits of all compared rows may have together: 1 GiB in float64


@dataclass(frozen=True)
class Difference:
    """``largest`` and ``mean`` absolute difference of two logits; ``scale`` is the largest logit.

    ``equal_greedy`` is the share of the ``positions`` with the same likeliest token, 0 to 1. NaN
    anywhere makes ``largest`` NaN.
    """

    largest: float
    mean: float
    scale: float
    equal_greedy: float
    positions: int


def logits(model: Any, row: Sequence[int]) -> Any:
    """Logits of shape (length, vocabulary) of a row of token ids, on the CPU, without gradient.

    Of another head what it gives: (1, labels), (length, tags), (length, 2) of the two ends of an
    answer, or (1, 1) of a choice.
    """
    import torch

    ids = torch.tensor([list(row)], device=model.device)
    kind = heads.task_of(model).kind
    with torch.inference_mode():
        if kind == "question_answering":
            said = model(input_ids=ids)
            found = torch.stack([said.start_logits[0], said.end_logits[0]], -1)
        elif kind == "multiple_choice":
            found = model(input_ids=ids.unsqueeze(0)).logits
        elif kind == "seq2seq_lm":
            found = model(input_ids=ids, decoder_input_ids=ids, use_cache=False).logits[0]
        elif kind == "causal_lm":
            found = model(input_ids=ids, use_cache=False).logits[0]
        else:
            found = model(input_ids=ids).logits
            found = found if found.dim() == 2 else found[0]
    return found[-len(row) :].cpu()  # without virtual tokens


def shortened(rows: Sequence[Sequence[int]], vocabulary: int) -> list[list[int]]:
    """As many rows, the last one perhaps cut, as have logits that fit into memory together."""
    room = max(1, HELD // vocabulary)
    kept: list[list[int]] = []
    for row in rows:
        if len(row) and room:
            kept.append(list(row[:room]))
            room -= len(kept[-1])
    return kept


def compare(expected: Iterable[Any], found: Iterable[Any]) -> Difference:
    """The difference over pairs of logits of equal shapes, compared in the wider type of both."""
    import torch

    largest = total = scale = 0.0
    equal = positions = numbers = 0
    for one, other in zip(expected, found, strict=True):
        wide = torch.promote_types(one.dtype, other.dtype)
        apart = (one.to(wide) - other.to(wide)).abs()
        most = float(apart.max())
        largest = max(largest, most) if most == most else float("nan")
        total += float(apart.double().sum())
        scale = max(scale, float(one.abs().max()))
        equal += int((one.argmax(-1) == other.argmax(-1)).sum())
        positions += one.shape[0]
        numbers += apart.numel()
    return Difference(largest, total / max(1, numbers), scale, equal / max(1, positions), positions)
