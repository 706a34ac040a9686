"""Guesses the format of a user's file for a starter recipe, and says how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.data.sniffing_tasks import LABELS, TaskGuess, guesses
from ftune.errors import DataError
from ftune.recipe.base import Chosen
from ftune.recipe.source import Source
from ftune.registry import FORMATS
from ftune.types import Example

MARKS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}  # between a table's cells
ROWS = 200  # looked at
MORE_ROWS = 2000  # looked at for labels, which may stand in the file one after the other
FIRST = 20  # of which the columns are taken
WRITTEN = ("sft", "seq2seq")  # objectives of rows that are not labelled
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
    return _best(path, _values(path, folder, ROWS))


def readings(path: str, folder: Path, objective: str | None = None) -> list[Guess | TaskGuess]:
    """What the rows may be for, the best first: text that is written, or labels that are told.

    A conversation, or a question with its answer, is one whatever stands beside it. ``objective``
    is the only one that is thought of, if given.

    Raises:
        DataError: the file can't be read, or speaks of no such task.
    """
    values = _values(path, folder, MORE_ROWS)
    found: list[TaskGuess] = list(guesses(values))
    try:
        written: list[Guess] = [_best(path, values[:ROWS])]
    except DataError:
        if not found or objective in WRITTEN:
            raise
        written = []
    vague = not written or _is_vague(written[0])
    first = [one for one in found if vague or one.format != "labelled"]
    ordered: list[Guess | TaskGuess] = [*first, *written]
    ordered += [one for one in found if one not in first]
    if objective is None:
        return ordered
    wanted = [one for one in ordered if _learned(one, objective)]
    if not wanted:
        raise DataError(
            f"{path}: nothing in its rows says {objective}; the columns are "
            f"{', '.join(_columns(values))}; write a recipe by hand and name them in columns"
        )
    return wanted


def _learned(one: Guess | TaskGuess, objective: str) -> bool:
    if isinstance(one, TaskGuess):
        return one.objective == objective
    return objective in WRITTEN


def _is_vague(written: Guess) -> bool:
    """Whether the rows would be taken for text to be written by nothing but a text or a label."""
    if written.format == "text":
        return True
    asked = written.format == "prompt_completion"
    return asked and written.columns.get("completion", "").lower() in LABELS


def _values(path: str, folder: Path, most: int) -> list[Mapping[str, Any]]:
    from ftune.data.sources import read_rows

    probe = Source(path=path, format=Chosen("text", None), max_rows=most)
    rows = list(read_rows(probe, folder))
    values = [row.value for row in rows if row.problem is None]
    if not values:
        why = f" ({rows[0].problem})" if rows else ""
        raise DataError(f"{path}: no row of it can be read{why}")
    return values


def _columns(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {k: v for value in reversed(values[:FIRST]) for k, v in value.items()}


def _best(path: str, values: Sequence[Mapping[str, Any]]) -> Guess:
    columns = _columns(values)
    tried = [_try(name, named, values) for name, named in _candidates(columns)]
    best = max(tried, key=lambda g: g.good)
    if 2 * best.good <= len(values):
        raise DataError(
            f"{path}: no format reads its rows; the columns are {', '.join(columns) or 'none'}; "
            f"{_advice(columns)}"
        )
    return best


def _advice(columns: Mapping[str, Any]) -> str:
    """What to do about columns that no format knows."""
    only = next(iter(columns)) if len(columns) == 1 else ""
    mark = next((mark for mark in MARKS if mark in only), None)
    if mark is not None:
        return (
            f"that is one column with {MARKS[mark]} in its name: if these are between the columns, "
            "write commas there (.csv) or tabs (.tsv)"
        )
    return "write a recipe by hand and name them in columns"


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
