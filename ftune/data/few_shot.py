"""Few-shot prompts: solved examples before each question, from a pool of rows.

As text they stand in the user's words; as turns before them, marked as shown. Neither is trained,
unless the recipe trains every token. Which ones a row gets follows from the seed, its source and
its number alone, and no row is shown its own answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from ftune.data.chance import uniform
from ftune.data.collect import Taken
from ftune.data.forming import Setting, forming
from ftune.data.sources import read_rows
from ftune.errors import DataError
from ftune.types import Example, Message, Row

MOST = 1000  # of the source's own rows
TRIES = 20  # draws for each demonstration before the pool is gone through in order


def shown(
    taken: Iterable[Taken],
    sources: Sequence[Any],
    folder: Path,
    seed: int,
    may_show: Callable[[Example], bool] = lambda _: True,
) -> Iterator[Taken]:
    """The same with demonstrations before the questions of sources that have ``few_shot``.

    ``may_show`` says which of a source's own rows may be shown: those on its training side.

    Raises:
        DataError: a pool can't be read or is too small, or a row has no question.
    """
    ready: dict[int, Shots] = {}
    for one in taken:
        source = sources[one.source]
        if source.few_shot is None:
            yield one
            continue
        if one.source not in ready:
            setting = Setting(folder, seed, one.source)
            ready[one.source] = Shots(source, setting, may_show)
        yield replace(one, example=ready[one.source].before(one.row, one.example))


class Shots:
    """A source's demonstrations."""

    def __init__(self, source: Any, setting: Setting, may_show: Callable[[Example], bool]) -> None:
        """Reads the pool.

        Raises:
            DataError: it can't be read, a row of it is bad, or it has too few rows.
        """
        self._section, self._setting, self._path = source.few_shot, setting, source.path
        self._form = forming(source, setting)
        self._made: dict[tuple[int, str], Example | None] = {}
        self._own = self._section.pool is None
        k = self._section.k
        self._counts: tuple[int, ...] = k if isinstance(k, tuple) else (k,)
        if self._own:
            self._pool = list(islice(self._own_rows(source, may_show), MOST))
        else:
            self._pool = [self._right(row) for row in read_rows(self._section.pool, setting.folder)]
        if len(self._pool) < max(self._counts):
            raise self._too_few(len(self._pool))

    def before(self, number: int, example: Example) -> Example:
        """The example of row ``number`` with its demonstrations before it.

        Raises:
            DataError: it has no question, or the pool has too few rows that can be shown.
        """
        section = self._section
        if not isinstance(example, Example) or example.messages[-1].role != "assistant":
            raise DataError(
                f"{self._path}:{number}: few_shot shows questions with their answers, and this "
                "row has none; take few_shot out, or another format"
            )
        count = self._counts[self._draw(number, "shots", 0, len(self._counts))]
        found = list(islice(self._usable(number, example), count))
        if len(found) < count:
            raise self._too_few(len(found))
        if section.as_turns:
            return self._as_turns(found, example)
        return self._as_text(found, example)

    def _own_rows(self, source: Any, may_show: Callable[[Example], bool]) -> Iterator[Row]:
        for row in read_rows(source, self._setting.folder):
            if row.problem is not None:
                continue  # told where the rows themselves are read
            try:
                example = self._form.example(row)
            except DataError:
                continue
            if may_show(example):
                yield row

    def _right(self, row: Row) -> Row:
        """A row of a pool of its own, which must be one that can be read."""
        if row.problem is not None:
            raise DataError(f"{row.source}:{row.number}: {row.problem}")
        return row

    def _usable(self, number: int, example: Example) -> Iterator[Example]:
        """Demonstrations for a row, the first ones or drawn ones, never the row itself.

        Those that answer the row's own question come last: data sets with several right answers
        have a row for each, and one would tell another's.
        """
        size, seen = len(self._pool), set()
        question, telling = _asked(example), []
        for at in self._order(number, size):
            if at in seen:
                continue
            seen.add(at)
            if self._own and self._pool[at].number == number:
                continue
            one = self._like(at, example)
            if one is None or one.words == example.words:
                continue
            if _asked(one) == question:
                telling.append(one)
            else:
                yield one
        yield from telling

    def _order(self, number: int, size: int) -> Iterator[int]:
        if self._section.choose == "drawn":
            for attempt in range(TRIES * max(self._counts)):
                yield self._draw(number, "shot", attempt, size)
        yield from range(size)

    def _draw(self, number: int, what: str, attempt: int, size: int) -> int:
        """One of ``size`` numbers, for this row."""
        setting = self._setting
        return int(uniform(setting.seed, what, setting.source, number, attempt) * size)

    def _like(self, at: int, example: Example) -> Example | None:
        """The row of the pool as the row's own template writes it; None where that can't."""
        key = at, example.template
        if key not in self._made:
            self._made[key] = self._formed(self._pool[at], example)
        return self._made[key]

    def _formed(self, row: Row, example: Example) -> Example | None:
        try:
            found: Example | None = self._form.like(row, example)
        except DataError as error:
            if self._own:
                return None  # told where the rows themselves are read
            raise DataError(f"{row.source}:{row.number}: {error}") from error
        if found is None:
            return None
        turns = [m.role for m in found.messages if m.role != "system"]
        if not self._section.as_turns and turns != ["user", "assistant"]:
            raise DataError(
                f"{row.source}:{row.number}: few_shot writes one question and one answer as text, "
                f"and this row of the pool has {len(turns)} turns; set as_turns: true"
            )
        return found

    def _as_text(self, shots: Sequence[Example], example: Example) -> Example:
        """In the first question's words."""
        section = self._section
        text = section.intro + section.separator if section.intro else ""
        cuts = []
        for one in shots:
            asked, answered = [m for m in one.messages if m.role != "system"]
            cuts.append(len(text))
            text += _words(asked) + section.between + answered.content + section.separator
        cuts.append(len(text))
        first = next(i for i, m in enumerate(example.messages) if m.role == "user")
        question = example.messages[first]
        asked = replace(question, content=text + question.content, cuts=tuple(cuts))
        turns = (*example.messages[:first], asked, *example.messages[first + 1 :])
        return replace(example, messages=turns)

    def _as_turns(self, shots: Sequence[Example], example: Example) -> Example:
        """As turns behind the system message, which the intro is where there is none."""
        system = tuple(m for m in example.messages[:1] if m.role == "system")
        if self._section.intro and not system:
            system = (Message("system", self._section.intro),)
        own = tuple(m for m in example.messages if m.role != "system")
        turns = (replace(m, shown=True) for one in shots for m in one.messages)
        return replace(example, messages=(*system, *(m for m in turns if m.role != "system"), *own))

    def _too_few(self, there: int) -> DataError:
        whose = "its own rows" if self._own else self._section.pool.path
        return DataError(
            f"{self._path}: few_shot.k asks for {max(self._counts)} demonstrations, and {whose} "
            f"{'give' if self._own else 'gives'} {there} that can be shown; lower k, or name a "
            "larger pool"
        )


def _asked(example: Example) -> tuple[tuple[str, str, str], ...]:
    """All that stands before the last answer."""
    return tuple((m.role, m.content, m.context) for m in example.messages[:-1])


def _words(asked: Message) -> str:
    return f"{asked.content}\n\n{asked.context}" if asked.context else asked.content
