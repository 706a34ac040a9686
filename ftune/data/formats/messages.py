"""A list of messages, each with role and content (OpenAI's shape)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftune.data.columns import items, references, value
from ftune.data.conversation import checked
from ftune.data.conversation import messages as read
from ftune.recipe.base import Section
from ftune.types import ROLES, Example


class Config(Section):
    """The columns, and the keys in a message."""

    messages: str = "messages"
    """The list of messages."""
    role: str = "role"
    """Key of a message's role: system (or developer), user, assistant or tool."""
    content: str = "content"
    """Key of a message's text."""
    references: str | None = None
    """A list of further right answers, for the evaluation."""


def example(row: Mapping[str, Any], config: Config) -> Example:
    """The row as a conversation that ends with an assistant's message.

    Raises:
        DataError: what is missing, of a wrong type or in an order that can't be trained.
    """
    turns = items(value(row, config.messages, "messages"), config.messages)
    roles = {role: role for role in ROLES} | {"developer": "system"}
    read_turns = read(turns, config.role, config.content, roles)
    return Example(checked(read_turns), references(row, config.references))
