"""An instruction, an input it may have, and the output (Stanford Alpaca).

``system`` and ``history`` (a list of [instruction, output] pairs that came before) are used where
the row has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftune.data.columns import kind_of, optional_text, references, text
from ftune.errors import DataError
from ftune.recipe.base import Section
from ftune.types import Example, Message


class Config(Section):
    """The columns."""

    instruction: str = "instruction"
    """What is asked."""
    input: str | None = "input"
    """What the instruction is about; may be empty or missing."""
    output: str = "output"
    """The answer, which is trained."""
    system: str | None = "system"
    """A system message; may be empty or missing."""
    history: str | None = "history"
    """Earlier exchanges, a list of pairs; may be empty or missing."""
    references: str | None = None
    """A list of further right answers, for the evaluation."""


def example(row: Mapping[str, Any], config: Config) -> Example:
    """The row as a conversation.

    Raises:
        DataError: a column is missing, empty or of the wrong type.
    """
    turns: list[Message] = []
    system = optional_text(row, config.system)
    if system.strip():
        turns.append(Message("system", system))
    for asked, answered in _history(row, config.history):
        turns += [Message("user", asked), Message("assistant", answered)]
    instruction = text(row, config.instruction, "instruction")
    context = optional_text(row, config.input)
    turns.append(Message("user", instruction, context if context.strip() else ""))
    turns.append(Message("assistant", text(row, config.output, "output")))
    return Example(tuple(turns), references(row, config.references))


def _history(row: Mapping[str, Any], column: str | None) -> list[tuple[str, str]]:
    found = row.get(column) if column is not None else None
    if found is None:
        return []
    if not isinstance(found, list | tuple):
        raise DataError(f"{column!r} is {kind_of(found)} and must be a list of pairs")
    for number, pair in enumerate(found, 1):
        whole = isinstance(pair, list | tuple) and len(pair) == 2
        if not whole or not all(isinstance(p, str) and p.strip() for p in pair):
            raise DataError(
                f"{column!r}: entry {number} must be a pair of texts, an instruction and its output"
            )
    return [(asked, answered) for asked, answered in found]
