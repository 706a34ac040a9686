"""Conversations: a list of turns in a column -> checked messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftune.data.columns import kind_of
from ftune.errors import DataError
from ftune.types import Message


def messages(
    turns: Sequence[Any], role_key: str, text_key: str, roles: Mapping[str, str]
) -> tuple[Message, ...]:
    """The turns of a list of objects; ``roles`` maps their names of roles to ours.

    Raises:
        DataError: a turn is no object, has no role or text, or a role that isn't known.
    """
    return tuple(
        _message(number, turn, role_key, text_key, roles) for number, turn in enumerate(turns, 1)
    )


def _message(
    number: int, turn: Any, role_key: str, text_key: str, roles: Mapping[str, str]
) -> Message:
    if not isinstance(turn, Mapping):
        raise DataError(f"turn {number} is {kind_of(turn)} and must be an object")
    for key in (role_key, text_key):
        if key not in turn:
            there = ", ".join(map(repr, turn)) or "none"
            raise DataError(f"turn {number} has no {key!r}; its keys are: {there}")
    role, content = turn[role_key], turn[text_key]
    if not isinstance(role, str) or role not in roles:
        known = ", ".join(roles)
        raise DataError(f"turn {number}: {role!r:.60} is not a role; the roles are: {known}")
    if not isinstance(content, str):
        parts = "; only text can be trained, so join its parts" if isinstance(content, list) else ""
        raise DataError(
            f"turn {number}: {text_key!r} is {kind_of(content)} and must be text{parts}"
        )
    return Message(roles[role], content)


def checked(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """The same turns, in an order that can be trained: it ends with an assistant's words.

    Raises:
        DataError: no turn or no assistant's, a system message that isn't first, two users' turns
            in a row, an assistant that begins, empty words, or an end without an answer.
    """
    for number, turn in enumerate(turns, 1):
        before = turns[number - 2].role if number > 1 else None
        if not turn.content.strip() and turn.role in {"user", "assistant"}:
            raise DataError(f"turn {number} ({turn.role}) is empty; fill it in or leave it out")
        if turn.role == "system" and number > 1:
            raise DataError(f"turn {number} is a system message; it must be the first turn")
        if turn.role == "user" and before == "user":
            raise DataError(
                f"turns {number - 1} and {number} are both the user's; join them, or put the "
                "assistant's answer between them"
            )
        if turn.role == "assistant" and before in {None, "system", "assistant"}:
            what = "follows another one" if before == "assistant" else "answers nobody"
            raise DataError(
                f"turn {number} (assistant) {what}; a user's turn or a tool's must stand before it"
            )
    if not any(t.role == "assistant" for t in turns):
        raise DataError("has no assistant turn, so there is nothing to train; add the answer")
    if turns[-1].role != "assistant":
        raise DataError(
            f"ends with a {turns[-1].role} turn; add the assistant's answer or take the turn off"
        )
    return turns
