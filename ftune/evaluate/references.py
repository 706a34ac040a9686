"""Prompts that occur several times as one prompt with many references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ftune.errors import DataError
from ftune.types import Prediction, Prompt


@dataclass(frozen=True)
class Grouped:
    """``prompts`` without repeats; ``members[i]`` are the places that ``prompts[i]`` had before."""

    prompts: tuple[Prompt, ...]
    members: tuple[tuple[int, ...], ...]


def group_references(prompts: Sequence[Prompt]) -> Grouped:
    """Joins prompts with the same tokens and task; each keeps the place and row of
    its first occurrence.

    References are joined in order and kept where they repeat, as published scorers do.
    """
    places: dict[tuple[object, ...], list[int]] = {}
    for place, prompt in enumerate(prompts):
        places.setdefault((prompt.task, *prompt.ids), []).append(place)
    joined = tuple(
        replace(
            prompts[members[0]],
            references=tuple(r for place in members for r in prompts[place].references),
        )
        for members in places.values()
    )
    return Grouped(joined, tuple(tuple(members) for members in places.values()))


def need_references(predictions: Sequence[Prediction], metric: str) -> None:
    """Refuses what can't be compared.

    Raises:
        DataError: there are no predictions, or one has no reference.
    """
    need_predictions(predictions, metric)
    bare = [p for p in predictions if not p.references]
    if bare:
        raise DataError(
            f"{bare[0].source}:{bare[0].row}: {metric} needs a reference, and {len(bare):,} of "
            f"{len(predictions):,} rows have none; give data.test answers, or leave {metric} out"
        )


def need_predictions(predictions: Sequence[Prediction], metric: str) -> None:
    """Raises DataError if there are no predictions: no figure belongs to nothing."""
    if not predictions:
        raise DataError(f"data.test: {metric} of an empty set has no value; give it rows")


def ragged(predictions: Sequence[Prediction]) -> list[list[Any]]:
    """References as sacrebleu takes them: list k holds the k-th of each row, or None."""
    most = max(len(p.references) for p in predictions)
    return [
        [p.references[k] if k < len(p.references) else None for p in predictions]
        for k in range(most)
    ]
