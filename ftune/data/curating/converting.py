"""An example -> a row of another shape: messages, alpaca, sharegpt, a pair, or text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftune.errors import DataError
from ftune.types import Example, Message

SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def shapes() -> tuple[str, ...]:
    """Names of the shapes that rows can be written in."""
    return tuple(_SHAPES)


def converted(example: Example, shape: str) -> dict[str, Any]:
    """The row.

    Raises:
        DataError: the shape has no place for something that the example holds.
    """
    row = _SHAPES[shape](example)
    if example.references:
        row["references"] = list(example.references)
    return row


def _words(message: Message) -> str:
    """A turn's content with its context, for shapes that keep them in one."""
    return f"{message.content}\n\n{message.context}" if message.context else message.content


def _turns(example: Example, shape: str) -> tuple[Message, ...]:
    if example.messages[0].role == "text":
        raise DataError(f"is plain text, which {shape} has no place for; write it as text")
    return example.messages


def _messages(example: Example) -> dict[str, Any]:
    turns = _turns(example, "messages")
    return {"messages": [{"role": m.role, "content": _words(m)} for m in turns]}


def _sharegpt(example: Example) -> dict[str, Any]:
    turns = _turns(example, "sharegpt")
    return {"conversations": [{"from": SHAREGPT[m.role], "value": _words(m)} for m in turns]}


def _alpaca(example: Example) -> dict[str, Any]:
    turns = list(_turns(example, "alpaca"))
    row: dict[str, Any] = {}
    if turns[0].role == "system":
        row["system"] = turns.pop(0).content
    if [m.role for m in turns] != ["user", "assistant"] * (len(turns) // 2):
        raise DataError("its turns don't take turns, which alpaca can't say; write messages")
    pairs = list(zip(turns[::2], turns[1::2], strict=True))
    if len(pairs) > 1:
        row["history"] = [[_words(asked), answered.content] for asked, answered in pairs[:-1]]
    asked, answered = pairs[-1]
    row |= {"instruction": asked.content, "input": asked.context, "output": answered.content}
    return row


def _prompt_completion(example: Example) -> dict[str, Any]:
    turns = _turns(example, "prompt_completion")
    if [m.role for m in turns] != ["user", "assistant"]:
        raise DataError("has more than one exchange, which a pair can't say; write messages")
    return {"prompt": _words(turns[0]), "completion": turns[1].content}


def _text(example: Example) -> dict[str, Any]:
    if example.messages[0].role != "text":
        raise DataError("has roles, which plain text can't say; train on it with a template")
    return {"text": example.messages[0].content}


_SHAPES: dict[str, Callable[[Example], dict[str, Any]]] = {
    "messages": _messages,
    "alpaca": _alpaca,
    "sharegpt": _sharegpt,
    "prompt_completion": _prompt_completion,
    "text": _text,
}
