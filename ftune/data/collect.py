"""Rows of several sources -> examples -> tokens, with every row counted on the way.

Weights, draws and held-out shares follow from hashes, never from the order of rows: the same row
is drawn or held out in each run, and equal rows stay on one side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from ftune.data import render
from ftune.data.chance import uniform
from ftune.data.forming import Setting, forming
from ftune.data.ledger import Ledger, SourceCounts
from ftune.data.rules import Dropped
from ftune.data.sources import read_rows
from ftune.errors import DataError
from ftune.types import Example, Labelled, Row, Tokens

OnBadRow = Literal["error", "skip"]
Encode = Callable[[Sequence[Any]], Iterable[render.Rendered]]


@dataclass(frozen=True, slots=True)
class Taken:
    """An example with where it comes from; ``times`` says how often its weight repeats it."""

    source: int  # index into the sources
    row: int
    example: Any  # Example, or Labelled
    times: int = 1


def examples(
    sources: Sequence[Any],
    folder: Path,
    on_bad_row: OnBadRow,
    ledger: Ledger,
    seed: int = 0,
    weighted: bool = True,
) -> Iterator[Taken]:
    """The examples of all sources, one source after the other.

    Bad rows and rows that a weight leaves out are counted in ``ledger`` and go no further. Not
    ``weighted``, each row comes once: a mixture draws later.

    Raises:
        DataError: a source can't be read, or a row is bad and ``on_bad_row`` is "error".
    """
    for index, source in enumerate(sources):
        counts = ledger[index]
        form = forming(source, Setting(folder, seed, index))
        for row in read_rows(source, folder):
            counts.read += 1
            if row.problem is not None:
                note_bad(counts, row, row.problem, on_bad_row)
                continue
            try:
                example = form.example(row)
            except DataError as error:
                note_bad(counts, row, str(error), on_bad_row)
                continue
            times = drawn(source.weight, seed, row.number, example) if weighted else 1
            if times:
                yield Taken(index, row.number, example, times)
            else:
                counts.not_drawn += 1


def tokenized(
    taken: Iterable[Taken], encode: Encode, on_bad_row: OnBadRow, ledger: Ledger
) -> Iterator[tuple[Taken, Tokens]]:
    """The tokens of examples, in order; dropped and bad ones are counted and go no further.

    ``encode`` makes them of many examples at once; see ``render.encoding``.

    Raises:
        DataError: an example can't be rendered and ``on_bad_row`` is "error".
    """
    rest = iter(taken)
    while batch := list(islice(rest, render.AT_ONCE)):
        done = encode([one.example for one in batch])
        for one, tokens in zip(batch, done, strict=True):
            counts = ledger[one.source]
            if isinstance(tokens, Dropped):
                counts.drop(tokens.reason)
            elif isinstance(tokens, DataError):
                row = Row(counts.source, one.row)
                note_bad(counts, row, str(tokens), on_bad_row)
            else:
                counts.use(tokens, one.times, one.example)
                yield one, tokens


def note_bad(counts: SourceCounts, row: Row, why: str, on_bad_row: OnBadRow) -> None:
    """Counts a bad row.

    Raises:
        DataError: ``on_bad_row`` is "error".
    """
    said = f"{row.source}:{row.number}: {why}"
    if on_bad_row == "error":
        raise DataError(f"{said}; or set data.on_bad_row: skip to leave such rows out")
    counts.bad_row(said)


def drawn(weight: float, seed: int, number: int, example: Example | Labelled) -> int:
    """How often a row is used: 2.0 is twice, 0.5 once for a drawn half of the rows, 1.5 both.

    Its number and words decide, not its path: a moved file gives the same rows.
    """
    whole = int(weight)
    return whole + (uniform(seed, "weight", number, *example.words) < weight - whole)


def side(
    example: Example | Labelled, seed: int, eval_share: float, test_share: float
) -> Literal["train", "eval", "test"]:
    """ "train", "eval" or "test": the shares are cut from one draw, so none overlaps another."""
    at = uniform(seed, "side", *example.words)
    if at < test_share:
        return "test"
    return "eval" if at < test_share + eval_share else "train"


def once(taken: Taken) -> Taken:
    """The same without repetition, for rows that are held out."""
    return replace(taken, times=1)
