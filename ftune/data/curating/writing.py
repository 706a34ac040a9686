"""Rows -> a file, in the kind that its name says, beside it first: it is there whole or not."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from ftune.errors import DataError
from ftune.run.atomic import TEMPORARY, disk_errors, sync_folder

KINDS = (".jsonl", ".csv", ".tsv", ".parquet")
AT_ONCE = 2000  # rows of a Parquet row group

Value = Mapping[str, Any]


def kind_of(path: Path) -> str:
    """The suffix that says how ``path`` is written.

    Raises:
        DataError: it is none of those that can be.
    """
    kind = Path(path.name.lower().removesuffix(".gz")).suffix
    if kind not in KINDS or (kind == ".parquet" and path.suffix == ".gz"):
        raise DataError(
            f"{path}: can't be written; its name must end in {', '.join(KINDS)} "
            "(all but Parquet also with .gz behind it)"
        )
    return kind


def check_free(paths: Sequence[Path]) -> None:
    """Refuses to write over anything.

    Raises:
        DataError: one of the files is there, or can't be written by its name.
    """
    for path in paths:
        kind_of(path)
        if path.exists():
            raise DataError(f"{path}: is there already; name another file, or move it away")


class Writers:
    """Several files that appear together when the block ends well, and not at all otherwise."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        """``paths`` by the name under which rows are handed in.

        Raises:
            DataError: see ``check_free``.
        """
        check_free(list(paths.values()))
        self._paths = dict(paths)
        self._open: dict[str, _Rows] = {}
        self._stack = ExitStack()
        self.counts = dict.fromkeys(paths, 0)

    def __enter__(self) -> Writers:
        for name, path in self._paths.items():
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            self._open[name] = self._stack.enter_context(_Rows(path))
        return self

    def add(self, name: str, value: Value) -> None:
        """Writes a row to the file of that name."""
        self._open[name].add(value)
        self.counts[name] += 1

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        if kind is None:
            for rows in self._open.values():
                rows.finish()
        self._stack.__exit__(kind, error, trace)


class _Rows:
    """One file under way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kind = kind_of(path)
        self._temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
        self._waiting: list[Value] = []
        self._columns: list[str] | None = None
        self._text: TextIO | None = None
        self._table: Any = None

    def __enter__(self) -> _Rows:
        with disk_errors(self.path):
            if self._kind != ".parquet":
                zipped = self.path.suffix == ".gz"
                raw: Any = gzip.open(self._temporary, "wb") if zipped else None
                raw = raw or self._temporary.open("wb")
                self._text = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        return self

    def add(self, value: Value) -> None:
        with disk_errors(self.path):
            if self._kind == ".parquet":
                self._waiting.append(value)
                if len(self._waiting) >= AT_ONCE:
                    self._flush()
            elif self._kind == ".jsonl":
                assert self._text is not None
                self._text.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
            else:
                self._cells(value)

    def _cells(self, value: Value) -> None:
        assert self._text is not None
        tabs = self._kind == ".tsv"  # has no quotes, as it is read
        plain: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}
        writer = csv.writer(self._text, **(plain if tabs else {}))
        if self._columns is None:
            self._columns = list(value)
            writer.writerow(self._columns)
        cells = {name: "" if cell is None else cell for name, cell in value.items()}
        why = next((f"{n!r} {w}" for n, c in cells.items() if (w := _unfit(c, tabs))), None)
        if list(value) != self._columns:
            why = "its columns differ from the first one's"
        if why:
            raise DataError(f"{self.path}: a table can't hold this row: {why}; write .jsonl")
        writer.writerow(cells.values())

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._waiting:
            return
        try:
            schema = self._table.schema if self._table is not None else None
            part = pa.Table.from_pylist([dict(value) for value in self._waiting], schema=schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(
                f"{self.path}: a Parquet column has one type, and these rows differ ({error}); "
                "write .jsonl"
            ) from error
        if self._table is None:
            self._table = pq.ParquetWriter(self._temporary, part.schema)
        elif set(part.column_names) != {n for v in self._waiting for n in v}:
            raise DataError(
                f"{self.path}: rows have columns that the first ones lack; write .jsonl"
            )
        self._table.write_table(part)
        self._waiting = []

    def finish(self) -> None:
        with disk_errors(self.path):
            if self._kind == ".parquet":
                self._flush()
                if self._table is None:
                    raise DataError(f"{self.path}: there are no rows to write")
                self._table.close()
            else:
                assert self._text is not None
                self._text.close()
            with self._temporary.open("rb") as done:
                os.fsync(done.fileno())
            self._temporary.replace(self.path)
            sync_folder(self.path.parent)

    def __exit__(self, *_: object) -> None:
        for handle in (self._text, self._table):
            if handle is not None:
                with disk_errors(self.path):
                    handle.close()
        self._temporary.unlink(missing_ok=True)


def _unfit(cell: Any, tabs: bool) -> str | None:
    """Why a cell can't stand in a table; None if it can."""
    if isinstance(cell, list | tuple | dict):
        return "is a list or an object"
    if tabs and isinstance(cell, str) and any(mark in cell for mark in "\t\r\n"):
        return "has a tab or a line end in it"
    return None


def write_all(path: Path, values: Iterable[Value]) -> int:
    """Writes rows to one file; how many there were."""
    with Writers({"": path}) as out:
        for value in values:
            out.add("", value)
    return out.counts[""]
