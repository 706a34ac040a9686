"""Text files: each line that isn't empty is a row with the column ``text``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ftune.data.lines import lines, opened
from ftune.types import Row


def rows(path: Path, name: str) -> Iterator[Row]:
    """The rows of a file; a Row's number is its line.

    Raises:
        DataError: the file can't be read.
    """
    with opened(path) as handle:
        for line in lines(handle):
            if line.problem is not None:
                yield Row(name, line.number, problem=line.problem)
            elif line.raw.strip():
                yield Row(name, line.number, {"text": line.raw.decode("utf-8")})
