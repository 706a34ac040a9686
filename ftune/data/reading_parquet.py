"""Parquet files, batch by batch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftune.data.lines import opened
from ftune.errors import DataError
from ftune.types import Row

AT_ONCE = 256  # rows


def rows(path: Path, name: str, after: int = 0) -> Iterator[Row]:
    """The rows of a file behind position ``after``; a Row's number is its position.

    Raises:
        DataError: the file can't be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    with _unpacked(path) as place:
        try:
            with pq.ParquetFile(place, memory_map=True, pre_buffer=False) as file:
                for batch in file.iter_batches(AT_ONCE, use_threads=False):
                    if number + batch.num_rows <= after:
                        number += batch.num_rows
                        continue
                    for index in range(batch.num_rows):
                        number += 1
                        if number <= after:
                            continue
                        yield _row(batch, index, name, number)
        except (pa.ArrowException, OSError) as error:
            where = f" behind row {number}" if number else ""
            raise DataError(
                f"{path}: is no parquet file or damaged{where} ({error}); write or fetch it again"
            ) from error


def _row(batch: Any, index: int, name: str, number: int) -> Row:
    try:
        value = batch.slice(index, 1).to_pylist()[0]
    except UnicodeDecodeError:
        return Row(name, number, problem="a text in it is not UTF-8")
    return Row(name, number, value)


@contextmanager
def _unpacked(path: Path) -> Iterator[Any]:
    """The file's path, or an unpacked copy of a .gz: parquet is read from its end."""
    if path.suffix.lower() != ".gz":
        yield path
        return
    with tempfile.TemporaryFile() as copy:
        with opened(path) as handle:
            shutil.copyfileobj(handle, copy)
        copy.seek(0)
        yield copy
