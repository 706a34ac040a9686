"""Rows of sources that nobody has seen the end of, as tokens: in shares by weight, from any place.

Each source is a lane that begins again where it ends. The next row is of the lane that is furthest
behind its share, so that after each row the mix is what was asked, to within one row of each.
What comes next follows from the sources and the place alone: stopped anywhere, it goes on alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ftune.data import render
from ftune.data.collect import Encode, OnBadRow, Taken, note_bad
from ftune.data.few_shot import Shots
from ftune.data.forming import Setting, forming
from ftune.data.ledger import Ledger, SourceCounts
from ftune.data.rules import Dropped
from ftune.data.sources import rows_after
from ftune.errors import DataError
from ftune.types import Row, Tokens


@dataclass(frozen=True, slots=True)
class Lane:
    """How far a source has come: the last row that was taken, how many were in this pass, passes
    that were ended, and what was given of it in all (rows, or trained tokens)."""

    number: int = 0
    read: int = 0
    passes: int = 0
    given: int = 0


@dataclass(frozen=True, slots=True)
class How:
    """How rows become tokens, the same for all sources."""

    folder: Path  # relative paths start there
    encode: Encode
    on_bad_row: OnBadRow = "error"
    seed: int = 0
    by: str = "rows"


class Stream:
    """The rows of several sources from a place on."""

    def __init__(self, sources: Sequence[Any], how: How, place: Sequence[Lane] | None = None):
        self._sources, self._how = sources, how
        self.place = list(place or [Lane()] * len(sources))
        self._events = [_events(source, i, how, self.place[i]) for i, source in enumerate(sources)]

    def take(self, count: int, ledger: Ledger) -> Iterator[tuple[Taken, Tokens]]:
        """The next ``count`` rows that are used; what lies between them is counted in ``ledger``.

        Raises:
            DataError: a source can't be read, has no row that is used, or a row is bad and the
                recipe says to stop.
        """
        for _ in range(count):
            behind = [
                lane.given / source.weight
                for lane, source in zip(self.place, self._sources, strict=True)
            ]
            yield self._next(behind.index(min(behind)), ledger[behind.index(min(behind))])

    def _next(self, index: int, counts: SourceCounts) -> tuple[Taken, Tokens]:
        """The next row of a source that is used."""
        begun = self.place[index].passes
        for row, found, example in self._events[index]:
            lane = self.place[index]
            if row is None:
                self.place[index] = replace(lane, number=0, read=0, passes=lane.passes + 1)
                if lane.passes > begun:  # a whole pass gave nothing
                    raise DataError(f"{counts.source}: none of its rows is left to train on")
                continue
            lane = replace(lane, number=row.number, read=lane.read + 1)
            self.place[index] = lane
            counts.read += 1
            if isinstance(found, Dropped):
                counts.drop(found.reason)
            elif isinstance(found, DataError):
                note_bad(counts, row, str(found), self._how.on_bad_row)
            else:
                counts.use(found, 1, example)
                amount = sum(found.trained) if self._how.by == "trained_tokens" else 1
                self.place[index] = replace(lane, given=lane.given + amount)
                return Taken(index, row.number, example), found
        raise AssertionError("a lane has no end")


Event = tuple[Row | None, Any, Any]  # the row, its tokens or what is wrong, its example


def _events(source: Any, index: int, how: How, place: Lane) -> Iterator[Event]:
    """What becomes of each row of a source, in order, for ever; a row of None ends a pass."""
    setting = Setting(how.folder, how.seed, index)
    form, before = forming(source, setting), _before(source, setting)
    after, read = place.number, place.read
    while True:
        rows = rows_after(source, how.folder, after, read)
        while batch := list(islice(rows, render.AT_ONCE)):
            examples = [_example(row, form, before) for row in batch]
            good = [each for each in examples if not isinstance(each, DataError)]
            made = iter(how.encode(good))
            for row, example in zip(batch, examples, strict=True):
                bad = isinstance(example, DataError)
                yield row, (example if bad else next(made)), (None if bad else example)
        yield None, None, None
        after = read = 0


def _before(source: Any, setting: Setting) -> Callable[[int, Any], Any]:
    """Puts demonstrations before an example, where the source has any."""
    if source.few_shot is None:
        return lambda _, example: example
    return Shots(source, setting, lambda _: True).before


def _example(row: Row, form: Any, before: Callable[[int, Any], Any]) -> Any:
    if row.problem is not None:
        return DataError(row.problem)
    try:
        return before(row.number, form.example(row))
    except DataError as error:
        return error


def plain(place: Sequence[Lane]) -> list[dict[str, int]]:
    """A place for a file."""
    return [asdict(lane) for lane in place]


def read_place(told: Sequence[dict[str, int]]) -> list[Lane]:
    """The place that ``plain`` wrote."""
    return [Lane(**lane) for lane in told]
