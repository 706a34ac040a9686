"""Plain text, all of which is trained; a txt file gives one row per line.

No template applies: the tokenizer's beginning mark, the text, the end mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftune.data import columns
from ftune.recipe.base import Section
from ftune.types import Example, Message


class Config(Section):
    """The column."""

    text: str = "text"
    """The text."""


def example(row: Mapping[str, Any], config: Config) -> Example:
    """The row as text without roles.

    Raises:
        DataError: the column is missing, empty or no text.
    """
    return Example((Message("text", columns.text(row, config.text, "text")),))
