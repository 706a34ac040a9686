"""A file without its repeated rows; what was taken out, and of which row it is a repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftune.data.curating import exact, near
from ftune.data.curating.table import Count, Table
from ftune.data.curating.writing import Writers, check_free

SHOWN = 10


@dataclass(frozen=True)
class Deduplicated:
    """Rows taken out as ``equal`` or ``alike``, and the first of each as (row, like row)."""

    read: Count
    equal: int
    alike: int
    kept: int
    equal_pairs: tuple[tuple[int, int], ...]
    alike_pairs: tuple[tuple[int, int], ...]


def deduplicate(
    table: Table, out: Path | None, columns: Sequence[str] = (), share: float | None = None
) -> Deduplicated:
    """Finds the rows of ``table`` that repeat an earlier one, and writes the others to ``out``.

    Rows are equal in ``columns`` (all of them if none is named); with ``share`` also those go that
    are alike. Rows that can't be read are counted and left out.

    Raises:
        DataError: a column is missing, or ``out`` is there or can't be written.
        RecipeError: a library is missing.
    """
    if out is not None:
        check_free([out])
    equal = exact.repeated(table, columns, read := Count())
    alike: dict[int, int] = {}
    if share is not None:
        found = near.repeated(table, share, Count())
        alike = {row: first for row, first in found.items() if row not in equal}
    kept = read.rows - read.bad - len(equal) - len(alike)
    if out is not None:
        with Writers({"kept": out}) as files:
            for row in table.rows("write", Count()):
                if row.number not in equal and row.number not in alike:
                    files.add("kept", row.value)
        kept = files.counts["kept"]
    return Deduplicated(
        read, len(equal), len(alike), kept, _first(equal), _first(alike)
    )  # fmt: skip


def _first(pairs: dict[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted(pairs.items())[:SHOWN])
