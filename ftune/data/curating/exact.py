"""Rows that say the same, letter for letter: the first of them is kept."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftune.data.curating.table import Count, Table, cell, key

if TYPE_CHECKING:
    import numpy as np


def repeated(table: Table, columns: Sequence[str], count: Count) -> dict[int, int]:
    """The numbers of rows that repeat an earlier one, each with the number of that one.

    Rows are equal in ``columns``, or in all of them where none is named; held are 24 bytes a row.

    Raises:
        DataError: a column is missing.
    """
    digests, numbers = bytearray(), array("Q")
    for row in table.rows("compare", count):
        what = {name: cell(row, name) for name in columns} if columns else dict(row.value)
        digests += key(what)
        numbers.append(row.number)
    return gone(first_of_equals(bytes(digests)), numbers)


def gone(leaders: np.ndarray, numbers: array[int]) -> dict[int, int]:
    """The rows that are not their own leaders, by number, with their leader's number."""
    import numpy as np

    others = np.flatnonzero(leaders != np.arange(len(leaders)))
    return {numbers[at]: numbers[int(leaders[at])] for at in others.tolist()}


def first_of_equals(digests: bytes) -> np.ndarray:
    """The index of the first equal one, for digests of 16 bytes each; shape (digests,), int64."""
    import numpy as np

    high, low = np.frombuffer(digests, ">u8").reshape(-1, 2).T
    order = np.lexsort((low, high))  # stable: of equals, the first row stands first
    if not len(order):
        return np.zeros(0, np.int64)
    fresh = np.ones(len(order), bool)
    fresh[1:] = (np.diff(high[order]) != 0) | (np.diff(low[order]) != 0)
    leaders = np.maximum.accumulate(np.where(fresh, np.arange(len(order)), 0))
    found = np.empty(len(order), np.int64)
    found[order] = order[leaders]
    return found
