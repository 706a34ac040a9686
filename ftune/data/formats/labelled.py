"""A text, or a pair of texts, and its label, labels or number (GLUE, IMDb)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftune.data.columns import kind_of, text, value
from ftune.errors import DataError
from ftune.recipe.base import Section
from ftune.types import Labelled

GIVES = "labelled"


class Config(Section):
    """The columns."""

    text: str = "text"
    """The text, or the first one of a pair."""
    text_pair: str | None = None
    """The second text of a pair, where there is one."""
    label: str = "label"
    """A label (text or number), a list of labels, or the number that is to be learned."""


def example(row: Mapping[str, Any], config: Config) -> Labelled:
    """The row's texts and what is said of them.

    Raises:
        DataError: a column is missing or empty, or of a wrong type.
    """
    texts = [text(row, config.text, "text")]
    if config.text_pair is not None:
        texts.append(text(row, config.text_pair, "text_pair"))
    found = value(row, config.label, "label")
    if isinstance(found, list | tuple):
        return Labelled(tuple(texts), tuple(_label(one, config.label) for one in found))
    return Labelled(tuple(texts), _label(found, config.label))


def _label(found: Any, column: str) -> str:
    if isinstance(found, str) and not found.strip():
        raise DataError(f"{column!r} is empty; fill it in or leave the row out")
    if not isinstance(found, str | int | float):
        raise DataError(
            f"{column!r} is {kind_of(found)} and must be a label (text or a number) or a list of "
            "labels; fill it in or leave the row out"
        )
    return found.strip() if isinstance(found, str) else str(found)
