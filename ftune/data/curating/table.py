"""A user's data file as rows and as examples, one at a time, with every row counted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ftune.data import sniffing
from ftune.data.forming import Setting, forming
from ftune.data.sources import read_rows
from ftune.errors import DataError
from ftune.recipe.base import Chosen
from ftune.recipe.source import Source
from ftune.registry import FORMATS
from ftune.run.progress import Progress, Silent
from ftune.types import Example, Row

EVERY = 512  # rows between two looks at the progress bar
KEPT = 5  # bad rows that are named


@dataclass
class Count:
    """How many rows there were, and the first of those that could not be used."""

    rows: int = 0
    bad: int = 0
    named: list[str] = field(default_factory=list)

    def add_bad(self, row: Row, why: str) -> None:
        """Counts a row that can't be used."""
        self.bad += 1
        if len(self.named) < KEPT:
            self.named.append(f"{row.source}:{row.number}: {why}")


@dataclass(frozen=True)
class Table:
    """One file (or hub data set), read as often as needed and never held."""

    source: Source
    progress: Progress = field(default_factory=Silent)

    @property
    def name(self) -> str:
        """As the user wrote it."""
        return self.source.path

    def rows(self, title: str, count: Count | None = None) -> Iterator[Row]:
        """The readable rows in order; ``count`` counts them and the others.

        Raises:
            DataError: the file can't be read; or a row can't, and nobody counts.
        """
        with self.progress.meter(f"{title} {Path(self.name).name}", None, "rows") as meter:
            done = 0
            for done, row in enumerate(read_rows(self.source, Path()), 1):
                if done % EVERY == 0:
                    meter.update(done)
                if row.problem is None:
                    if count is not None:
                        count.rows += 1
                    yield row
                elif count is not None:
                    count.rows += 1
                    count.add_bad(row, row.problem)
                else:
                    raise DataError(f"{row.source}:{row.number}: {row.problem}")
            meter.update(done)

    def examples(self, title: str, count: Count) -> Iterator[tuple[Row, Example]]:
        """Rows with what their format makes of them; those that it can't read are counted."""
        form = forming(self.source, Setting(Path()))
        for row in self.rows(title, count):
            try:
                example = form.example(row)
            except DataError as error:
                count.add_bad(row, str(error))
                continue
            yield row, example


def opened(
    path: str,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Table:
    """A file with its format: the one named, else the one that reads most of its first rows.

    Raises:
        DataError: there is no such file or format, or none that reads its rows.
    """
    if format is None:
        found = sniffing.guess(path, Path())
        format, columns = found.format, {**found.columns, **(columns or {})}
    if format not in FORMATS.names():
        raise DataError(f"--format {format}: is not a format; there are {_names()}")
    try:
        config = FORMATS.load(format).Config(**(columns or {}))
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
        known = ", ".join(FORMATS.load(format).Config.model_fields)
        raise DataError(f"--column {wrong}: {format} has the columns {known}") from error
    return Table(Source(path=path, format=Chosen(format, config)), progress or Silent())


def plain(path: str, progress: Progress | None = None) -> Table:
    """A file whose rows are taken as they are, whatever they hold."""
    return Table(Source(path=path, format=Chosen("text", None)), progress or Silent())


def _names() -> str:
    return ", ".join(FORMATS.names())


def question(example: Example) -> str:
    """What is asked: the turns before the last answer, or nothing in plain text.

    Without demonstrations: these are rows of their own.
    """
    asked = (m for m in example.messages[:-1] if not m.shown)
    return "\n".join(f"{m.own}\n{m.context}".strip() for m in asked)


def answer(example: Example) -> str:
    """The last turn."""
    return example.messages[-1].content


def key(value: object, *parts: str | int) -> bytes:
    """16 bytes that stand for a JSON value, whatever the order of its keys."""
    text = json.dumps([value, *parts], ensure_ascii=True, sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=16).digest()


def cell(row: Row, column: str) -> Any:
    """A column of a row.

    Raises:
        DataError: the row has no such column; the message lists those that it has.
    """
    if column in row.value:
        return row.value[column]
    there = ", ".join(map(repr, row.value)) or "none"
    raise DataError(
        f"{row.source}:{row.number}: there is no column {column!r}; the columns are: {there}"
    )
