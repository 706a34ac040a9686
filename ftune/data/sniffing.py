"""Guesses the format of a user's file for a starter recipe, and says how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.errors import DataError
from ftune.recipe.base import Chosen
from ftune.recipe.schema import Source
from ftune.registry import FORMATS
from ftune.types import Example

ROWS = 200  # looked at
ORDER = ("messages", "sharegpt", "alpaca", "prompt_completion", "text")
# What people call the two columns of a pair, in the order in which they are tried.
ASKED = ("prompt", "question", "instruction", "query", "input", "source", "src", "mr", "article",
         "document", "dialogue", "sentence", "text")  # fmt: skip
ANSWERED = ("completion", "answer", "response", "output", "target", "tgt", "ref", "reference",
            "summary", "highlights", "translation", "label", "chosen")  # fmt: skip
TEXTS = ("text", "content", "body", "story", "document")


@dataclass(frozen=True)
class Guess:
    """A format with its columns, and how many of the rows looked at it reads."""

    format: str
    columns: Mapping[str, str]
    good: int
    seen: int
    longest: int  # characters of the longest example


def guess(path: str, folder: Path) -> Guess:
    """The format that reads most of the first rows.

    Raises:
        DataError: the file can't be read, or no format reads more than half of the rows.
    """
    from ftune.data.sources import read_rows

    probe = Source(path=path, format=Chosen("text", None), max_rows=ROWS)
    rows = list(read_rows(probe, folder))
    values = [row.value for row in rows if row.problem is None]
    if not values:
        why = f" ({rows[0].problem})" if rows else ""
        raise DataError(f"{path}: no row of it can be read{why}")
    guesses = [_try(name, columns, values) for name, columns in _candidates(values[0])]
    best = max(guesses, key=lambda g: g.good)
    if 2 * best.good <= len(values):
        raise DataError(
            f"{path}: no format reads its rows; the first one has the columns "
            f"{', '.join(values[0])}; write a recipe by hand and name them in columns"
        )
    return best


def _candidates(first: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Formats to try, each with columns, in the order in which ties are settled."""
    found: list[tuple[str, dict[str, str]]] = [(name, {}) for name in ORDER]
    lower = {name.lower(): name for name in first}
    asked = next((lower[n] for n in ASKED if n in lower), None)
    answered = next((lower[n] for n in ANSWERED if n in lower and lower[n] != asked), None)
    if asked and answered:
        found.insert(3, ("prompt_completion", {"prompt": asked, "completion": answered}))
    text = next((lower[n] for n in TEXTS if n in lower), None)
    if text and text != "text":
        found.append(("text", {"text": text}))
    return found


def _try(name: str, columns: Mapping[str, str], values: Sequence[Mapping[str, Any]]) -> Guess:
    module = FORMATS.load(name)
    config = module.Config(**columns)
    good, longest = 0, 0
    for value in values:
        try:
            example: Example = module.example(value, config)
        except DataError:
            continue
        good += 1
        longest = max(longest, sum(len(m.content) + len(m.context) for m in example.messages))
    return Guess(name, columns, good, len(values), longest)
