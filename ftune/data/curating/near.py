"""Rows that say nearly the same: MinHash estimates how many of their word groups they share.

Broder 1997, "On the resemblance and containment of documents"; signatures by datasketch. Rows that
agree in a band of their signatures are compared, and belong together from a share on; the first
of those that belong together is kept. Signatures lie in a file, so memory stays at some bytes a
row.
"""

from __future__ import annotations

import re
import tempfile
from array import array
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ftune.data.curating.exact import gone
from ftune.data.curating.table import Count, Table, answer, question
from ftune.errors import RecipeError

if TYPE_CHECKING:
    import numpy as np

    from ftune.types import Example

NUMBERS = 128  # of a signature
WORDS = 3  # in a group
AT_ONCE = 256  # rows whose signatures are made together
SEED = 1


def repeated(table: Table, share: float, count: Count) -> dict[int, int]:
    """The numbers of rows that are like an earlier one, each with the number of the first such.

    ``share`` is the smallest Jaccard index of two rows' word groups, as it is estimated. Rows that
    the format can't read are like no other.

    Raises:
        RecipeError: datasketch is not installed.
    """
    import numpy as np

    numbers = array("Q")
    with tempfile.TemporaryFile(prefix="ftune-dedup-") as file:
        for signatures in _signatures(table, count, numbers):
            file.write(signatures.tobytes())
        file.flush()
        if not numbers:
            return {}
        held: Any = np.memmap(file, np.uint32, "r", shape=(len(numbers), NUMBERS))
        return gone(_joined(held, share), numbers)


def groups(text: str) -> set[bytes]:
    """The groups of ``WORDS`` words that follow each other, in lower case; all if there are fewer.

    A text without words gives what it is made of.
    """
    words = re.findall(r"\w+", text.lower())
    last = max(1, len(words) - WORDS + 1)
    found = {" ".join(words[i : i + WORDS]).encode() for i in range(last)} if words else set()
    return found or {text.encode()}


def _text(example: Example) -> str:
    return f"{question(example)}\n{answer(example)}"


def _signatures(table: Table, count: Count, numbers: array[int]) -> Iterator[np.ndarray]:
    """Blocks of shape (rows, NUMBERS), uint32; ``numbers`` gets the rows' numbers."""
    make = _library()
    block: list[set[bytes]] = []
    for row, example in table.examples("compare", count):
        numbers.append(row.number)
        block.append(groups(_text(example)))
        if len(block) == AT_ONCE:
            yield make(block)
            block = []
    if block:
        yield make(block)


def _library() -> Callable[[list[set[bytes]]], np.ndarray]:
    """Makes the signatures of a block; fails early where the library is missing."""
    import numpy as np

    try:
        from datasketch import MinHash
    except ImportError as error:
        raise RecipeError(
            "ftune data dedup --near needs datasketch: pip install 'ftune[dedup]'"
        ) from error
    first = MinHash(num_perm=NUMBERS, seed=SEED, scheme="affine32")

    def make(block: list[set[bytes]]) -> np.ndarray:
        made = []
        for words in block:
            one = first.copy()
            one.update_batch(words)
            made.append(one.hashvalues)
        return np.asarray(made, np.uint32)

    return make


def bands(share: float) -> int:
    """Into how many bands a signature is cut: the fewest that miss under 1% of pairs at ``share``.

    A pair with Jaccard index s agrees in some band of r numbers with 1 - (1 - s^r)^b (Leskovec,
    Rajaraman and Ullman, "Mining of Massive Datasets", 3.4.2).
    """
    for number in (1, 2, 4, 8, 16, 32, 64):
        if (1 - share ** (NUMBERS // number)) ** number < 0.01:
            return number
    return NUMBERS


def _joined(signatures: Any, share: float) -> np.ndarray:
    """Indices of the first row of each row's cluster."""
    import numpy as np

    rows = len(signatures)
    leader = np.arange(rows)
    width = NUMBERS // bands(share)
    for start in range(0, NUMBERS, width):
        band = np.ascontiguousarray(signatures[:, start : start + width])
        mixed = _mixed(band)
        order = np.argsort(mixed, kind="stable")
        edges = np.flatnonzero(np.diff(mixed[order])) + 1
        for members in np.split(order, edges):
            if len(members) > 1:
                _join(signatures, members, share, leader)
    return np.array([_root(leader, row) for row in range(rows)])


def _mixed(band: np.ndarray) -> np.ndarray:
    """A number for each line of a band, equal for equal lines (and hardly ever for others)."""
    import numpy as np

    mixed = np.zeros(len(band), np.uint64)
    with np.errstate(over="ignore"):
        for column in band.T:
            mixed = (mixed ^ column) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
    return mixed


def _join(signatures: Any, members: np.ndarray, share: float, leader: np.ndarray) -> None:
    """Puts those together that are like the first one, then those like the first that is left."""
    while len(members) > 1:
        alike = (signatures[members] == signatures[members[0]]).mean(axis=1) >= share
        root = _root(leader, members[0])
        for row in members[alike]:
            other = _root(leader, row)
            low, high = min(root, other), max(root, other)
            leader[high] = low
            root = low
        members = members[~alike]


def _root(leader: np.ndarray, row: int) -> int:
    while leader[row] != row:
        leader[row] = leader[leader[row]]
        row = leader[row]
    return int(row)
