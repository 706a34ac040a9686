"""The ledger of the rows and tokens as a table: one line per source, nothing uncounted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ftune.report import numbers
from ftune.report.tolerant import items, mapping, number, text

APART = "templates"  # has a table of its own
_NAMES = ("source", "path", "name")  # keys that say which source a line is of


@dataclass(frozen=True)
class LedgerTable:
    """Heads, and cells as words; the first columns are the part (train, eval) and the source."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def ledger_table(figures: Mapping[str, Any]) -> LedgerTable:
    """``figures["ledger"]`` and ``figures["totals"]`` of the format stage as a table.

    Counts by reason stand as columns of their own where a reason occurs ("dropped: too long");
    other columns that are 0 everywhere stay, since "none was dropped" is worth knowing.
    """
    lines = [
        (text(part), _source(mapping(one)), _flat(mapping(one)))
        for part, sources in mapping(figures.get("ledger")).items()
        for one in (items(sources) or ([sources] if isinstance(sources, Mapping) else []))
    ]
    if not lines:
        return LedgerTable((), ())
    totals = mapping(figures.get("totals"))
    if totals and all(isinstance(each, Mapping) for each in totals.values()):
        lines += [(text(part), "total", _flat(mapping(each))) for part, each in totals.items()]
    elif totals:
        lines.append(("", "total", _flat(totals)))
    keys = list(dict.fromkeys(key for _, _, counts in lines for key in counts))
    rows = tuple(
        (part, source, *(numbers.figure(k, counts.get(k)) for k in keys))
        for part, source, counts in lines
    )
    return LedgerTable(("part", "source", *(numbers.label(k) for k in keys)), rows)


TEMPLATES = ("part", "source", "prompt template", "rows")


def template_rows(figures: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Part, source, prompt template and the rows that it wrote; the most rows of a source first."""
    return tuple(
        (text(part), _source(mapping(one)), text(name), numbers.figure("rows", count))
        for part, sources in mapping(figures.get("ledger")).items()
        for one in items(sources)
        for name, count in sorted(
            mapping(mapping(one).get(APART)).items(), key=lambda pair: -(number(pair[1]) or 0)
        )
    )


def _source(one: Mapping[str, Any]) -> str:
    return next((text(one[key]) for key in _NAMES if one.get(key)), "")


def _flat(one: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, given in one.items():
        if isinstance(given, Mapping) and key != APART:
            found |= {f"{key}: {reason}": count for reason, count in given.items()}
        elif key not in _NAMES and (number(given) is not None):
            found[key] = given
    return found
