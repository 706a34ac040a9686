"""What is said of rows that templates wrote, or that demonstrations stand before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftune.data.ledger import Ledger, SourceCounts

NAMED = 5  # templates named in a line; the report has all


def lines(ledgers: Mapping[str, Ledger]) -> Iterator[str]:
    """A line for each source that has something to say."""
    for split, ledger in ledgers.items():
        for one in ledger.sources:
            said = [*_templates(one), *_shots(one)]
            if said:
                yield f"{split}: {one.source}: {'; '.join(said)}"


def _templates(one: SourceCounts) -> Iterator[str]:
    counts = sorted(one.templates.items(), key=lambda pair: -pair[1])
    if counts:
        named = ", ".join(f"{name} {count:,}" for name, count in counts[:NAMED])
        more = f" and {len(counts) - NAMED} more" if len(counts) > NAMED else ""
        yield f"rows by template: {named}{more}"


def _shots(one: SourceCounts) -> Iterator[str]:
    if one.shots:
        cut = f", {one.shots_cut:,} of them cut since rows were too long" if one.shots_cut else ""
        yield f"{one.shots:,} demonstrations before {one.examples:,} rows{cut}"
