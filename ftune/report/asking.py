"""What it cost to ask the models of an evaluation: a line for each figure, a column for each."""

from __future__ import annotations

from dataclasses import dataclass

from ftune.report import numbers
from ftune.report.gather import Gathered
from ftune.report.tolerant import mapping, text

NAMES = {"base": "before", "tuned": "after"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A table; the first column names the figure, so that it fits a phone."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def asked(run: Gathered) -> Asked | None:
    """None where nothing was asked, or nobody counted."""
    told = mapping(run.figures("evaluate").get("cost"))
    found = {name: mapping(told.get(name)) for name in NAMES if mapping(told.get(name))}
    keys = list(dict.fromkeys(key for one in found.values() for key in one))
    keys = [key for key in keys if any(one.get(key) for one in found.values())]
    if not keys:
        return None
    rows = tuple(
        (
            numbers.label(text(key)),
            *(numbers.figure(text(key), one.get(key)) for one in found.values()),
        )
        for key in keys
    )
    return Asked(("", *(NAMES[name] for name in found)), rows)
