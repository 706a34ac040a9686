"""A source of the recipe -> its rows, one at a time, in flat memory.

A source is whatever has the attributes of ``recipe.source.Source``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from itertools import dropwhile, islice
from pathlib import Path
from typing import Any

from ftune.data import reading_json, reading_jsonl, reading_parquet, reading_tables, reading_text
from ftune.errors import DataError
from ftune.registry import ROOT
from ftune.run.atomic import sha256
from ftune.types import Row

Reader = Callable[[Path, str], Iterator[Row]]

READERS: dict[str, Reader] = {
    ".jsonl": reading_jsonl.rows,
    ".json": reading_json.rows,
    ".csv": reading_tables.csv_rows,
    ".tsv": reading_tables.tsv_rows,
    ".parquet": reading_parquet.rows,
    ".txt": reading_text.rows,
}
# Those that skip rows without making values of them.
SKIPPING: dict[str, Callable[[Path, str, int], Iterator[Row]]] = {
    ".jsonl": reading_jsonl.rows,
    ".parquet": reading_parquet.rows,
}
HEAD = 1 << 20  # bytes by which a streamed file is known
SHIPPED = "ftune:"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def read_rows(source: Any, folder: Path) -> Iterator[Row]:
    """The rows of a source; a row that can't be read is a Row with its ``problem``.

    ``folder`` is where a relative path starts. ``max_rows`` counts unreadable rows too.

    Raises:
        DataError: the source isn't there, can't be read at all, or has no rows.
    """
    rows = islice(_rows(source, folder), source.max_rows)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{source.path}: is empty, there is no row in it; check the file")
    yield first
    yield from rows


def rows_after(source: Any, folder: Path, number: int, read: int) -> Iterator[Row]:
    """The rows of a source behind row ``number``, of which ``read`` are counted by ``max_rows``.

    Lines, parquet files and data sets of the hub are skipped over without being looked at.

    Raises:
        DataError: the source isn't there, or can't be read.
    """
    left = None if source.max_rows is None else max(0, source.max_rows - read)
    return islice(_rows(source, folder, number), left)


def _rows(source: Any, folder: Path, after: int = 0) -> Iterator[Row]:
    path = locate(source, folder)
    if isinstance(path, Path) and not path.is_dir():
        if _suffix(path) in SKIPPING:
            return SKIPPING[_suffix(path)](path, source.path, after)
        rows = _reader(path)(path, source.path)
        return dropwhile(lambda row: row.number <= after, rows) if after else rows
    from ftune.data import reading_hub

    return reading_hub.rows(source, str(path), after)


def locate(source: Any, folder: Path) -> Path | str:
    """The source's file, its folder in a hub data set's layout, or its hub id.

    Raises:
        DataError: it is none of these; the message says what to write.
    """
    name = source.path
    if "\0" in name:
        raise DataError(f"{name!r}: a path can't hold a NUL; correct it")
    if name.startswith(SHIPPED):
        return _file(source, _inside(ROOT / "assets", name.removeprefix(SHIPPED), name))
    path = folder / Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists() or _suffix(path) in READERS or not HUB_ID.fullmatch(name):
        return _file(source, path)
    return name


def _inside(root: Path, relative: str, name: str) -> Path:
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise DataError(f"{name}: leads out of what ships with ftune; name a file in it")
    return path


def _file(source: Any, path: Path) -> Path:
    """The path of a file that can be read, and of which nothing is asked that no file has."""
    if not path.exists():
        raise DataError(
            f"{path}: there is no such file; correct the path (a relative one starts at the "
            "recipe's folder), or name a hub data set as owner/name"
        )
    if not path.is_file():
        raise DataError(f"{path}: is not a regular file; name a data file")
    _reader(path)
    given = {"split": source.split != "train", "subset": source.subset is not None}
    given["revision"] = source.revision is not None
    for key, wrong in given.items():
        if wrong:
            raise DataError(f"{path}: a file has no {key}; take {key} out of the recipe")
    return path


def _suffix(path: Path) -> str:
    """The suffix that says what a file is, below .gz."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def _reader(path: Path) -> Reader:
    reader = READERS.get(_suffix(path))
    if reader is None:
        raise DataError(
            f"{path}: its name doesn't say what is in it; it must end in one of "
            f"{', '.join(READERS)}, each also with .gz behind it"
        )
    return reader


def identity(source: Any, folder: Path, streamed: bool = False) -> dict[str, Any]:
    """What tells this data from other data: path, sha256 and bytes, or hub id and commit.

    Of a file that is ``streamed``, which may be long and still grow, it is its first MiB; of a
    folder the names and sizes of its files.

    Raises:
        DataError: the source isn't there.
    """
    path = locate(source, folder)
    if isinstance(path, str):
        from ftune.data import reading_hub

        return {"hub": path, "revision": reading_hub.commit(path, source.revision)}
    if path.is_dir():
        from ftune.data import reading_hub

        return {"path": source.path, **reading_hub.folder_identity(path, not streamed)}
    if streamed:
        with path.open("rb") as file:
            return {"path": source.path, "begins": hashlib.sha256(file.read(HEAD)).hexdigest()}
    return {"path": source.path, "sha256": sha256(path), "bytes": path.stat().st_size}
