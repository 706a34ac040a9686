"""A few predictions, spread evenly over the test rows, so that nobody picked them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ftune.report.tolerant import items, number, read_lines, text

COUNT = 8  # samples in a report
LONGEST = 1200  # characters shown of one text


@dataclass(frozen=True, slots=True)
class Sample:
    """What was asked and answered; ``base`` is None where the base model was not asked."""

    source: str
    row: int
    prompt: str
    base: str | None
    tuned: str | None
    references: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """For report.json."""
        return asdict(self)


def read_samples(path: Path, problems: list[str], count: int = COUNT) -> tuple[Sample, ...]:
    """At most ``count`` predictions of a predictions.jsonl, evenly spread; memory stays flat."""
    total = sum(1 for _ in read_lines(path, []))
    wanted = {i * total // count for i in range(count)} if total > count else set(range(total))
    rows = enumerate(read_lines(path, problems))
    return tuple(_sample(row) for i, row in rows if i in wanted)


def _sample(row: dict[str, Any]) -> Sample:
    tuned = row["tuned"] if "tuned" in row else row.get("prediction")
    return Sample(
        source=text(row.get("source")),
        row=int(number(row.get("row")) or 0),
        prompt=short(_answer(row.get("prompt")) or ""),
        base=_short_or_none(_answer(row.get("base"))),
        tuned=_short_or_none(_answer(tuned)),
        references=tuple(short(text(r)) for r in items(row.get("references"))),
    )


def _answer(given: Any) -> str | None:
    """A prediction's text; it may also stand as an object with the text inside."""
    if isinstance(given, dict):
        given = given.get("text")
    return None if given is None else text(given)


def _short_or_none(words: str | None) -> str | None:
    return None if words is None else short(words)


def short(words: str) -> str:
    """``words``, cut if they are very long, saying by how much."""
    if len(words) <= LONGEST:
        return words
    return f"{words[:LONGEST]} … ({len(words) - LONGEST:,} characters more)"
