"""A list of turns, each with from and value, from human and gpt (ShareGPT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftune.data.columns import items, optional_text, references, value
from ftune.data.conversation import checked
from ftune.data.conversation import messages as read
from ftune.recipe.base import Section
from ftune.types import Example, Message

NAMES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}


class Config(Section):
    """The columns, and the keys in a turn."""

    conversations: str = "conversations"
    """The list of turns."""
    sender: str = "from"
    """Key of who speaks: human or user, gpt or assistant, system, function_call, observation."""
    value: str = "value"
    """Key of what is said."""
    system: str | None = "system"
    """A column with a system message; may be empty or missing."""
    references: str | None = None
    """A list of further right answers, for the evaluation."""


def example(row: Mapping[str, Any], config: Config) -> Example:
    """The row as a conversation that ends with an assistant's turn.

    Raises:
        DataError: what is missing, of a wrong type or in an order that can't be trained.
    """
    turns = items(value(row, config.conversations, "conversations"), config.conversations)
    found = read(turns, config.sender, config.value, NAMES)
    system = optional_text(row, config.system)
    if system.strip() and found[0].role != "system":
        found = (Message("system", system), *found)
    return Example(checked(found), references(row, config.references))
