"""Questions from a file for ``ftune generate``: JSON lines, or plain text with one on each line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.errors import DataError
from ftune.types import ROLES, Message

EXAMPLE = '{"prompt": "..."} or {"messages": [{"role": "user", "content": "..."}]}'


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and where it stands: ``row`` is its line in ``source``.

    ``adapter`` is who is asked, of several; empty for the first one. So is ``task``, of a model
    that was trained for several.
    """

    messages: tuple[Message, ...]
    source: str = ""
    row: int = 0
    adapter: str = ""
    task: str = ""


def read_questions(path: Path) -> Iterator[Question]:
    """The questions of a .jsonl or .txt file; empty lines are passed over.

    Raises:
        DataError: the file can't be read, is of another kind or holds no question, or a line is
            not a question; the message names the line.
    """
    if path.suffix not in {".jsonl", ".txt"}:
        raise DataError(f"{path}: is neither .jsonl nor .txt; give lines of {EXAMPLE}, or of text")
    count = 0
    for row, text in _lines(path):
        if not text.strip():
            continue
        count += 1
        if path.suffix == ".txt":
            yield Question((Message("user", text),), str(path), row)
        else:
            place = f"{path}:{row}"
            value = _object(text, place)
            adapter, task = _name(value, "adapter", place), _name(value, "task", place)
            yield Question(_messages(value, place), str(path), row, adapter, task)
    if not count:
        raise DataError(f"{path}: holds no question; give one on each line")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, without their ends and without a byte order mark."""
    try:
        with path.open("rb") as file:
            for row, line in enumerate(file, 1):
                data = line.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf" if row == 1 else b"")
                try:
                    text = data.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{path}:{row}: is not UTF-8 (byte {error.start + 1}); save the file as "
                        "UTF-8"
                    ) from error
                if "\0" in text:
                    raise DataError(f"{path}:{row}: holds a NUL character; remove it")
                yield row, text
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error


def _object(text: str, place: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: holds half of a surrogate pair; write the character") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: is not JSON ({error}); give {EXAMPLE}") from error
    return value if isinstance(value, dict) else {}


def _name(value: dict[str, Any], key: str, place: str) -> str:
    """The adapter or the task that a line names."""
    found = value.get(key, "")
    if not isinstance(found, str) or (key in value and not found):
        otherwise = "the first adapter" if key == "adapter" else "that of --task"
        raise DataError(f"{place}: {key} is no name; leave it out for {otherwise}")
    return found


def _messages(value: dict[str, Any], place: str) -> tuple[Message, ...]:
    keys = set(value) & {"prompt", "messages"}
    if len(keys) != 1:
        raise DataError(f"{place}: needs either prompt or messages; give {EXAMPLE}")
    if keys == {"prompt"}:
        return (_message({"role": "user", "content": value["prompt"]}, f"{place}: prompt"),)
    given = value["messages"]
    if not isinstance(given, list) or not given:
        raise DataError(f"{place}: messages is not a list with an entry; give {EXAMPLE}")
    messages = tuple(_message(m, f"{place}: messages[{i}]") for i, m in enumerate(given))
    if messages[-1].role == "assistant":
        raise DataError(f"{place}: the last message is the assistant's; end with a question")
    return messages


def _message(value: Any, place: str) -> Message:
    if not isinstance(value, dict):
        raise DataError(f"{place} is not an object; give {EXAMPLE}")
    role, content = value.get("role"), value.get("content")
    if role not in ROLES:
        raise DataError(f"{place} has the role {role!r}; there are {', '.join(ROLES)}")
    if not isinstance(content, str) or not content.strip():
        raise DataError(f"{place} has no text; give it some")
    return Message(role, content)
