"""A prompt and its completion, as texts or as lists of messages.

As texts they are one user's turn and its answer; the template ``plain`` writes nothing around them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftune.data.columns import items, references, text, value
from ftune.data.conversation import checked, messages
from ftune.errors import DataError
from ftune.recipe.base import Section
from ftune.types import ROLES, Example, Message


class Config(Section):
    """The columns."""

    prompt: str = "prompt"
    """What is asked: a text, or a list of messages with role and content."""
    completion: str = "completion"
    """The answer, which is trained: a text, or a list of messages."""
    references: str | None = None
    """A list of further right answers, for the evaluation."""


def example(row: Mapping[str, Any], config: Config) -> Example:
    """The row as a conversation that ends with the completion.

    Raises:
        DataError: what is missing, empty, of a wrong type, or one a text and the other a list.
    """
    prompt = value(row, config.prompt, "prompt")
    completion = value(row, config.completion, "completion")
    further = references(row, config.references)
    if isinstance(prompt, list | tuple) or isinstance(completion, list | tuple):
        for column, found in ((config.prompt, prompt), (config.completion, completion)):
            if isinstance(found, str):
                raise DataError(
                    f"{column!r} is text while the other is a list of messages; make both the same"
                )
        roles = {role: role for role in ROLES} | {"developer": "system"}
        turns = items(prompt, config.prompt) + items(completion, config.completion)
        return Example(checked(messages(turns, "role", "content", roles)), further)
    asked = Message("user", text(row, config.prompt, "prompt"))
    answered = Message("assistant", text(row, config.completion, "completion"))
    return Example((asked, answered), further)
