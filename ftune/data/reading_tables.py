"""CSV with a header (RFC 4180), and TSV with a header, in which quotes mean nothing."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ftune.data.lines import LONGEST, TOO_LONG, lines, opened
from ftune.errors import DataError
from ftune.types import Row


def csv_rows(path: Path, name: str) -> Iterator[Row]:
    """Rows of comma-separated values; see ``_rows``."""
    return _rows(path, name, "comma", csv.excel)


def tsv_rows(path: Path, name: str) -> Iterator[Row]:
    """Rows of tab-separated values; see ``_rows``."""
    return _rows(path, name, "tab", _Tabs)


class _Tabs(csv.excel):
    delimiter = "\t"
    quoting = csv.QUOTE_NONE


def _rows(path: Path, name: str, mark: str, dialect: type[csv.Dialect]) -> Iterator[Row]:
    """The rows under the header, all values text; a Row's number is the line it begins in.

    Raises:
        DataError: the file can't be read, or its header names a column twice or not at all.
    """
    with opened(path) as handle:
        text = _Lines(handle)
        csv.field_size_limit(LONGEST)
        reader = csv.reader(text, dialect, strict=True)
        header: list[str] | None = None
        while True:
            begin = text.number + 1
            text.problem = None
            try:
                cells = next(reader, None)
            except csv.Error as error:
                said = TOO_LONG if "field limit" in str(error) else f"is not CSV ({error})"
                yield Row(name, begin, problem=f"line {begin}: {text.problem or said}")
                continue
            if cells is None:
                return
            if header is None:
                header = _header(cells, path, mark, text.problem)
            elif text.problem is not None:
                yield Row(name, begin, problem=text.problem)
            elif len(cells) == len(header):
                yield Row(name, begin, dict(zip(header, cells, strict=True)))
            elif cells:
                problem = f"line {begin}: has {len(cells)} values, and the header {len(header)}"
                yield Row(name, begin, problem=problem)


def _header(cells: list[str], path: Path, mark: str, problem: str | None) -> list[str]:
    if problem is not None:
        raise DataError(f"{path}: the header can't be read: {problem}")
    names = [cell.strip() for cell in cells]
    counts = Counter(names)
    wrong = next((n for n in names if not n or counts[n] > 1), None)
    if wrong is not None:
        what = f"names {wrong!r} twice" if wrong else "has a column without a name"
        raise DataError(
            f"{path}:1: the header {what}; the first line must name the columns, each once, "
            f"with a {mark} between them"
        )
    return names


class _Lines:
    """A file's lines as text for the csv module; a bad one is noted and read as an empty one."""

    def __init__(self, handle: BinaryIO) -> None:
        self.number = 0
        self.problem: str | None = None
        self._lines = lines(handle)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number = line.number
        if line.problem is not None:
            self.problem = line.problem
            return line.raw.decode("utf-8", errors="replace").replace("\0", " ") + "\n"
        return line.raw.decode("utf-8") + "\n"
