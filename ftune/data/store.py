"""Tokens on disk: an Arrow file that is written as rows come and read through a memory map.

Columns: input_ids (list of int32), trained (list of bool), source (int16), row (int64), and
truncated (int32); of labelled rows also targets (list of float64), count (int32), kinds (list of
int8) and lines (list of int32), see ``types.Encoded``. Memory stays flat however many rows there
are: writing holds one record batch, reading holds four numbers a row.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ftune.errors import DataError
from ftune.run.atomic import TEMPORARY, disk_errors, sync_folder
from ftune.types import Encoded, Tokens

if TYPE_CHECKING:
    import numpy as np

BATCH_TOKENS = 1 << 18  # tokens in a record batch
BATCH_ROWS = 4096
FORMAT = "ftune tokens 1"


class TokenWriter:
    """Writes tokens to ``path``, beside it first: the file is there whole or not at all.

    A context manager; where its block raises, nothing is left.
    """

    def __init__(self, path: Path, labelled: bool = False) -> None:
        self.path = path
        self.rows = 0
        self._schema = _schema(labelled)
        self._temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
        self._columns: dict[str, list[Any]] = {name: [] for name in self._schema.names}
        self._waiting = 0
        self._file: Any = None
        self._writer: Any = None

    def __enter__(self) -> TokenWriter:
        import pyarrow as pa

        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("wb")
            self._writer = pa.ipc.new_file(self._file, self._schema)
        return self

    def add(self, tokens: Tokens, source: int, row: int) -> None:
        """Adds an example: its ``source`` as an index into the recipe's sources, and its row."""
        values: tuple[Any, ...] = (tokens.ids, tokens.trained, source, row, tokens.truncated)
        if isinstance(tokens, Encoded):
            values += (tokens.targets, tokens.count, tokens.kinds, tokens.lines)
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)
        self.rows += 1
        self._waiting += len(tokens.ids)
        if self._waiting >= BATCH_TOKENS or len(self._columns["row"]) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._columns["row"]:
            return
        arrays = [pa.array(self._columns[f.name], type=f.type) for f in self._schema]
        with disk_errors(self.path):
            self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._columns = {name: [] for name in self._schema.names}
        self._waiting = 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._flush()
                with disk_errors(self.path):
                    self._writer.close()
                    self._file.flush()
                    os.fsync(self._file.fileno())
                    self._file.close()
                    self._temporary.replace(self.path)
                    sync_folder(self.path.parent)
        finally:
            with suppress(OSError):  # what a full disk refused before is told already
                self._file.close()
            self._temporary.unlink(missing_ok=True)


def _schema(labelled: bool) -> Any:
    import pyarrow as pa

    columns = {
        "input_ids": pa.list_(pa.int32()),
        "trained": pa.list_(pa.bool_()),
        "source": pa.int16(),
        "row": pa.int64(),
        "truncated": pa.int32(),
    }
    if labelled:
        columns |= {
            "targets": pa.list_(pa.float64()),
            "count": pa.int32(),
            "kinds": pa.list_(pa.int8()),
            "lines": pa.list_(pa.int32()),
        }
    return pa.schema(columns, metadata={"format": FORMAT})


class TokenStore:
    """Tokens that ``TokenWriter`` wrote, by index; the ids are views of the file, never copies.

    Attributes (numpy, one int64 an example):
        lengths: tokens.
        trained_counts: trained tokens, or targets of labelled rows.
        labelled: whether the rows have targets of their own.
        sources: index into the recipe's sources.
        rows: number of the row in its source.
        truncated: tokens that were cut off.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file.

        Raises:
            DataError: it is not there, not whole, or not a file of tokens.
        """
        import numpy as np
        import pyarrow as pa

        self.path = path
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            if (reader.schema.metadata or {}).get(b"format") != FORMAT.encode():
                raise pa.ArrowInvalid("it is an Arrow file of something else")
            self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
            for batch in self._batches:
                batch.validate(full=True)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise DataError(
                f"{path}: can't be read as tokens ({error}); make it again (ftune train --fresh)"
            ) from error
        self._starts = np.cumsum([0, *(b.num_rows for b in self._batches)])
        self.lengths = self._joined([_lengths(b) for b in self._batches])
        self.labelled = "targets" in reader.schema.names
        self.trained_counts = self._joined(
            [b.column("count").to_numpy() if self.labelled else _counts(b) for b in self._batches]
        )
        self.sources, self.rows, self.truncated = (
            self._joined([b.column(name).to_numpy() for b in self._batches])
            for name in ("source", "row", "truncated")
        )

    @staticmethod
    def _joined(arrays: list[Any]) -> np.ndarray:
        import numpy as np

        return np.concatenate([np.zeros(0, np.int64), *(a.astype(np.int64) for a in arrays)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The ids (int32) and the mask (bool) of an example, both of shape (length,)."""
        batch, at = self._at(index)
        start, end = batch.column(0).offsets[at].as_py(), batch.column(0).offsets[at + 1].as_py()
        ids = batch.column(0).values.slice(start, end - start).to_numpy()
        trained = batch.column(1).values.slice(start, end - start)
        return ids, trained.to_numpy(zero_copy_only=False)  # bits: numpy has no view of these

    @property
    def marked(self) -> np.ndarray:
        """Tokens of each example that its mask shows as trained, int64."""
        return self._joined([_counts(b) for b in self._batches])

    def targets(self) -> tuple[np.ndarray, np.ndarray]:
        """All targets of labelled examples, float64, one example after the other; and how many
        each of them has, int64."""
        import numpy as np

        columns = [batch.column("targets") for batch in self._batches]
        values = [np.zeros(0), *(column.values.to_numpy() for column in columns)]
        return np.concatenate(values), self._joined(
            [np.diff(column.offsets.to_numpy()) for column in columns]
        )

    def encoded(self, index: int) -> Encoded:
        """A labelled example."""
        ids, trained = self[index]
        batch, at = self._at(index)
        return Encoded(
            ids=ids,  # type: ignore[arg-type]
            trained=trained,  # type: ignore[arg-type]
            targets=batch.column("targets")[at].as_py(),
            count=int(self.trained_counts[index]),
            kinds=batch.column("kinds")[at].as_py(),
            lines=batch.column("lines")[at].as_py(),
        )

    def _at(self, index: int) -> tuple[Any, int]:
        """The record batch of an example, and its place there."""
        import numpy as np

        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._batches[number], index - int(self._starts[number])


def _lengths(batch: Any) -> np.ndarray:
    import numpy as np

    return np.diff(batch.column(0).offsets.to_numpy())


def _counts(batch: Any) -> np.ndarray:
    """Trained tokens of each example."""
    import numpy as np

    trained = batch.column(1)
    flags = trained.values.to_numpy(zero_copy_only=False)
    sums = np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])
    offsets = trained.offsets.to_numpy()
    return sums[offsets[1:]] - sums[offsets[:-1]]
