"""A JSON file: an array of objects, one object, or objects one after the other.

Read piece by piece, so that memory stays flat however long the array is.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ftune.data.json_rows import RowDecoder
from ftune.data.lines import LONGEST, TOO_LONG, opened
from ftune.errors import DataError
from ftune.types import Row

PIECE = 1 << 18  # characters read at once
SPACE = " \t\r\n"


def rows(path: Path, name: str) -> Iterator[Row]:
    """The rows of a file; a Row's number is its position, its problem says line and column.

    Raises:
        DataError: the file can't be read, or breaks off its JSON, so that what follows is unknown.
    """
    with opened(path) as handle:
        text = _Text(handle, path)
        decoder = RowDecoder()
        in_array = text.skip() == "["
        if in_array:
            text.at += 1
        number = 0
        while True:
            mark = text.skip()
            if mark == ("]" if in_array else ""):
                text.at += 1
                break
            number += 1
            yield _value(text, decoder, name, number)
            mark = text.skip()
            if in_array and mark == ",":
                text.at += 1
                if text.skip() == "]":
                    raise text.error("a comma before the ] that ends the array")
            elif in_array and mark != "]":
                raise text.error("the array is cut off" if not mark else "a comma is missing")
        if in_array and text.skip():
            raise text.error("there is more behind the array")


def _value(text: _Text, decoder: RowDecoder, name: str, number: int) -> Row:
    """The next row; more of the file is read until it is whole."""
    while True:
        try:
            value, end = decoder.decode(text.text, text.at)
            if end < len(text.text) or text.done:
                break
        except json.JSONDecodeError as error:
            if text.done:
                text.at = min(error.pos, len(text.text))
                raise text.error(f"not JSON ({error.msg})") from None
        if len(text.text) - text.at > LONGEST:
            raise text.error(f"the row that begins here {TOO_LONG}, or is not JSON")
        text.more()
    found = decoder.problem(value, text.text, text.at, end)
    row = Row(name, number, value if isinstance(value, dict) else {})
    if found:
        row = Row(name, number, problem=f"{text.place(found[0])}: {found[1]}")
    text.at = end
    return row


class _Text:
    """The part of a file's text that is being looked at."""

    def __init__(self, handle: BinaryIO, path: Path) -> None:
        self.text = ""
        self.at = 0
        self.done = False
        self._handle = handle
        self._path = path
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._line, self._column = 1, 1  # where ``text`` begins

    def more(self) -> None:
        """Reads on; what lies behind is let go."""
        self._line, self._column = self._position(self.at)
        self.text, self.at = self.text[self.at :], 0
        raw = self._handle.read(max(PIECE, len(self.text)))
        self.done = not raw
        try:
            self.text += self._decode.decode(raw, final=self.done)
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode("utf-8")
            self.text, self.at = self.text + before, len(self.text) + len(before)
            byte = error.object[error.start]
            raise self.error(f"byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None

    def skip(self) -> str:
        """The next character that is no white space; the empty text at the file's end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in SPACE:
                self.at += 1
            if self.at < len(self.text) or self.done:
                return self.text[self.at : self.at + 1]
            self.more()

    def _position(self, at: int) -> tuple[int, int]:
        lines = self.text.count("\n", 0, at)
        if not lines:
            return self._line, self._column + at
        return self._line + lines, at - self.text.rfind("\n", 0, at)

    def place(self, at: int) -> str:
        """Line and column of a position in ``text``, in words."""
        line, column = self._position(at)
        return f"line {line}, column {column}"

    def error(self, what: str) -> DataError:
        """The error of the position reached, after which nothing can be read."""
        line, column = self._position(self.at)
        return DataError(
            f"{self._path}:{line}:{column}: {what}; correct the file there, or make it JSON lines "
            "(.jsonl), where one bad row leaves the others readable"
        )
