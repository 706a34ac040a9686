"""A file -> parts with exact shares: equal rows, or rows of one group, stay on one side.

Each row has a number in [0, 2^64) that follows from its content (or its group) and the seed, never
from its place. Within each stratum the rows are cut at the numbers that give the shares, so that
the parts stay the same when rows are put in another order.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftune.data.curating.table import Count, Table, cell, key
from ftune.data.curating.writing import Writers, check_free
from ftune.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from ftune.types import Row

MOST_STRATA = 10_000


@dataclass(frozen=True)
class Split:
    """What was written: rows of each part, in all and by stratum."""

    files: Mapping[str, Path]
    rows: Mapping[str, int]
    strata: Mapping[str, Mapping[str, int]]  # stratum -> part -> rows
    read: Count


def split(
    table: Table,
    shares: Mapping[str, float],
    files: Mapping[str, Path],
    seed: int = 0,
    group: str | None = None,
    stratify: str | None = None,
) -> Split:
    """Cuts ``table`` into the parts of ``shares`` (which sum to 1), one file each.

    Reads the file twice; holds 12 bytes a row.

    Raises:
        DataError: a column is missing, a part would be empty, or a file is there already.
    """
    check_free(list(files.values()))
    numbers, strata = array("Q"), array("I")
    names: dict[str, int] = {}
    for row in table.rows("read", Count()):
        numbers.append(_number(row, seed, group))
        stratum = "" if stratify is None else str(cell(row, stratify))
        strata.append(names.setdefault(stratum, len(names)))
        if len(names) > MOST_STRATA:
            raise DataError(
                f"{table.name}: column {stratify!r} has more than {MOST_STRATA:,} values; "
                "stratify by a column with few"
            )
    cuts = [_cuts(numbers, strata, number, list(shares.values())) for number in range(len(names))]
    told: dict[str, dict[str, int]] = {name: dict.fromkeys(shares, 0) for name in names}
    read, parts = Count(), list(shares)
    with Writers(files) as out:
        for row in table.rows("split", read):
            stratum = "" if stratify is None else str(cell(row, stratify))
            at = _number(row, seed, group)
            part = parts[sum(at >= cut for cut in cuts[names[stratum]])]
            out.add(part, row.value)
            told[stratum][part] += 1
        if empty := [part for part, rows in out.counts.items() if not rows]:
            raise DataError(
                f"{table.name}: no row would be in {', '.join(empty)} ({read.rows} rows, "
                f"{len(set(numbers)):,} different); give it a larger share"
            )
    return Split(files, out.counts, told if stratify is not None else {}, read)


def _number(row: Row, seed: int, group: str | None) -> int:
    """Equal for equal rows, or for the rows of a group."""
    what = dict(row.value) if group is None else cell(row, group)
    return int.from_bytes(key(what, seed)[:8])


def _cuts(numbers: array[int], strata: array[int], stratum: int, shares: list[float]) -> list[int]:
    """The numbers at which a stratum is cut: a row belongs behind all cuts that it reaches."""
    import numpy as np

    mine = np.sort(np.frombuffer(numbers, np.uint64)[np.frombuffer(strata, np.uint32) == stratum])
    ends = np.cumsum(shares)[:-1] * len(mine)
    return [_at(mine, round(float(end))) for end in ends]


def _at(ordered: np.ndarray, place: int) -> int:
    """The cut with ``place`` rows before it, or as near as equal numbers allow."""
    if place >= len(ordered):
        return 1 << 64
    number = ordered[place]
    first, last = ordered.searchsorted(number, "left"), ordered.searchsorted(number, "right")
    # Equal rows go where more of them belong.
    return int(number) + int(place - first > last - place)
