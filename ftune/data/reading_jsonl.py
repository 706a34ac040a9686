"""JSON lines: one object a line; empty lines are skipped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ftune.data.json_rows import RowDecoder
from ftune.data.lines import Line, lines, opened
from ftune.types import Row


def rows(path: Path, name: str, after: int = 0) -> Iterator[Row]:
    """The rows of a file behind line ``after``; a Row's number is its line.

    Raises:
        DataError: the file can't be read.
    """
    decoder = RowDecoder()
    with opened(path) as handle:
        for line in lines(handle):
            if line.number <= after:
                continue
            if line.problem is not None:
                yield Row(name, line.number, problem=line.problem)
            elif line.raw.strip():
                yield _row(line, name, decoder)


def _row(line: Line, name: str, decoder: RowDecoder) -> Row:
    text = line.raw.decode("utf-8")
    start = len(text) - len(text.lstrip())
    try:
        value, end = decoder.decode(text, start)
        rest = len(text) - len(text[end:].lstrip())
        if rest < len(text):
            raise json.JSONDecodeError("there is more behind the object", text, rest)
    except json.JSONDecodeError as error:
        cut = "; the file ends inside this row, so it may be cut off" if not line.ended else ""
        problem = f"is not JSON ({error.msg}){cut}"
        return Row(name, line.number, problem=_at(line.number, error.pos, problem))
    found = decoder.problem(value, text, start, end)
    if found:
        return Row(name, line.number, problem=_at(line.number, *found))
    return Row(name, line.number, value)


def _at(line: int, position: int, what: str) -> str:
    return f"line {line}, column {position + 1}: {what}"
