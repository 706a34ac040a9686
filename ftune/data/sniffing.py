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
FIRST = 20  # of which the columns are taken
ORDER = ("messages", "sharegpt", "alpaca", "prompt_completion", "text")
# What people call the columns of a pair and what stands beside it, in the order in which they are
# tried.
ASKED = ("prompt", "question", "instruction", "query", "input", "source", "src", "mr", "article",
         "document", "dialogue", "sentence", "text")  # fmt: skip
ANSWERED = ("completion", "answer", "response", "output", "target", "tgt", "ref", "reference",
            "summary", "highlights", "translation", "label", "chosen")  # fmt: skip
BESIDE = ("input", "context", "passage")
TEXTS = ("text", "content", "body", "story", "document")
# Keys of the entries of a list, and the format that has such lists.
TURNS = {("role", "content"): ("messages", "messages"), ("from", "value"): ("sharegpt",
         "conversations")}  # fmt: skip

Candidate = tuple[str, dict[str, str]]  # a format and its columns, where they have other names


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
    columns = {k: v for value in reversed(values[:FIRST]) for k, v in value.items()}
    guesses = [_try(name, named, values) for name, named in _candidates(columns)]
    best = max(guesses, key=lambda g: g.good)
    if 2 * best.good <= len(values):
        raise DataError(
            f"{path}: no format reads its rows; the columns are {', '.join(columns) or 'none'}; "
            "write a recipe by hand and name them in columns"
        )
    return best


def _candidates(columns: Mapping[str, Any]) -> list[Candidate]:
    """Formats to try, each with columns, in the order in which ties are settled."""
    lower = {name.lower(): name for name in columns}
    asked = next((lower[n] for n in ASKED if n in lower), None)
    answered = next((lower[n] for n in ANSWERED if n in lower and lower[n] != asked), None)
    beside = next((lower[n] for n in BESIDE if n in lower), None)
    text = next((lower[n] for n in TEXTS if n in lower), None)
    found: list[Candidate] = [(name, {}) for name in ORDER[:2]]
    found += [turns for name, value in columns.items() for turns in _turns(name, value)]
    if asked and answered and beside not in (None, asked, answered):
        three = {"instruction": asked, "input": beside, "output": answered}
        found.append(("alpaca", _renamed(three)))
    found += [("alpaca", {}), ("prompt_completion", {})]
    if asked and answered:
        found.append(("prompt_completion", _renamed({"prompt": asked, "completion": answered})))
    found.append(("text", {}))
    if text:
        found.append(("text", _renamed({"text": text})))
    return found


def _turns(name: str, value: Any) -> list[Candidate]:
    """The format of a column that holds a list of turns, by the keys of the first one."""
    first = value[0] if isinstance(value, list | tuple) and value else None
    if not isinstance(first, Mapping):
        return []
    return [
        (form, _renamed({column: name}))
        for keys, (form, column) in TURNS.items()
        if all(key in first for key in keys)
    ]


def _renamed(columns: Mapping[str, str | None]) -> dict[str, str]:
    """The columns that are called otherwise than the format calls them."""
    return {ours: theirs for ours, theirs in columns.items() if theirs and ours != theirs}


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
