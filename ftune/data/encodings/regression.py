"""One number for each text: the one that is to be learned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ftune.data.encodings.classification import of_texts
from ftune.data.encodings.classification import reworded as reworded
from ftune.data.rules import Dropped
from ftune.data.wholes import Wholes
from ftune.errors import DataError
from ftune.types import Encoded, Labelled


def labels(example: Labelled, config: Any) -> Iterable[str]:  # noqa: ARG001
    """It tells no labels apart."""
    return ()


def reference(example: Labelled, config: Any) -> tuple[str, ...]:  # noqa: ARG001
    """What is right to say: the number."""
    return (repr(number(example)),)


def asked(example: Labelled, wholes: Wholes, config: Any) -> None:
    """An answer needs to know nothing more of the row."""


def encode(
    examples: Sequence[Labelled],
    wholes: Wholes,
    known: Sequence[str],  # noqa: ARG001
    config: Any,  # noqa: ARG001
) -> list[Encoded | Dropped | DataError]:
    """The rows as ids, with their numbers; an error in the row's place."""
    return of_texts(examples, wholes, lambda example: [number(example)])


def number(example: Labelled) -> float:
    """The number that belongs to the row.

    Raises:
        DataError: what stands there is none, or not finite.
    """
    try:
        found = float(example.target)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(
            f"its label {example.target!r} is not a finite number, which regression learns; "
            "correct the row, or take train.objective: classification"
        )
    return found
