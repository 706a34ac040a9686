"""A beginning and several ways to go on, one of which is right (SWAG)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftune.data.columns import items, text, value
from ftune.errors import DataError
from ftune.recipe.base import Section
from ftune.types import Labelled

GIVES = "choices"


class Config(Section):
    """The columns."""

    context: str = "context"
    """What stands before all choices."""
    start: str | None = None
    """A text that each choice begins with, where the rows keep it apart."""
    choices: str | tuple[str, ...] = "choices"
    """The column that holds a list of choices, or a column for each choice."""
    label: str = "label"
    """Which choice is right, counted from 0; or its text."""


def example(row: Mapping[str, Any], config: Config) -> Labelled:
    """The row's beginning, its choices, and the number of the right one.

    Raises:
        DataError: a column is missing or of a wrong type, or the label names no choice.
    """
    if isinstance(config.choices, str):
        found = items(value(row, config.choices, "choices"), config.choices)
    else:
        found = [text(row, column, "choices") for column in config.choices]
    if len(found) < 2 or not all(isinstance(one, str) and one.strip() for one in found):
        raise DataError("choices must be at least two texts that aren't empty; correct the row")
    right = _right(value(row, config.label, "label"), found, config.label)
    if config.start is not None:
        start = text(row, config.start, "start")
        found = [f"{start} {one}" for one in found]
    return Labelled((text(row, config.context, "context"), *found), str(right))


def _right(label: Any, choices: list[str], column: str) -> int:
    if label in choices:
        return choices.index(label)
    if isinstance(label, str) and label.strip().isdecimal():
        label = int(label)
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < len(choices):
        raise DataError(
            f"{column!r} is {label!r} and must be the right choice's number, 0 to "
            f"{len(choices) - 1}, or its text"
        )
    return label
