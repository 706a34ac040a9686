"""Labels that a head says: sets of names, compared as they are and not as text.

An answer in text names a label in some way; a head's answer is one of the labels, so "C++" is not
"C" there, and a label that no test row has is a wrong answer like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ftune.types import Prediction


class Pair(NamedTuple):
    """What was said of a row, and what is right."""

    said: frozenset[str]
    right: frozenset[str]


def pairs(predictions: Sequence[Prediction]) -> list[Pair] | None:
    """The labels of each row; None where answers are text."""
    if not predictions or any(p.labels_said is None for p in predictions):
        return None
    return [Pair(frozenset(p.labels_said or ()), frozenset(p.labels_right)) for p in predictions]
