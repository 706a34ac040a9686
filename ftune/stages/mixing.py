"""The part of stage format that draws the rows of ``data.mixture``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.run import atomic
from ftune.run.pipeline import stop_between
from ftune.run.stage import Context

if TYPE_CHECKING:
    from ftune.data.drawing import Draw
    from ftune.data.ledger import Ledger

CHECK_EVERY = 256  # rows between two looks at the stop flag and the progress bar


@dataclass(frozen=True)
class Mixed:
    """What is said of a mixture."""

    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: dict[str, Any] | None = None


def pool(context: Context) -> Path:
    """Where all rows stand until those of the mixture are drawn."""
    return context.folder / f"{atomic.TEMPORARY}{os.getpid()}-pool"


def mix(context: Context, ledger: Ledger) -> Mixed:
    """Draws the rows of train.arrow from the pool, which is removed; ``ledger`` counts them anew.

    Raises:
        DataError: a source has nothing to give.
        Interrupted: it was asked to stop.
    """
    from ftune.data.drawing import draw, write
    from ftune.data.store import TokenStore

    data, seed = context.recipe.data, context.recipe.train.seed
    path = pool(context)
    try:
        store = TokenStore(path)
        weights = [source.weight for source in data.train]
        found = draw(store, data.mixture, weights, ledger, seed)
        with context.around.progress.meter("draw train", None, "rows") as meter:
            rows = 0
            for number, rows in enumerate(
                write(store, found.times, context.folder / "train.arrow")
            ):
                if number % CHECK_EVERY == 0:
                    stop_between(context.around.stop, "all rows were formatted")
                    meter.update(rows)
            meter.update(rows)
    finally:
        path.unlink(missing_ok=True)
    return Mixed(_lines(data.mixture, found, ledger), found.warnings, _figures(found, ledger))


def _lines(mixture: Any, found: Draw, ledger: Ledger) -> tuple[str, ...]:
    from ftune.data.drawing import UNITS

    how = {
        "examples_proportional": f"examples_proportional (cap {mixture.cap})",
        "temperature": f"temperature {mixture.temperature}"
        + (f" (cap {mixture.cap})" if mixture.cap else ""),
    }.get(mixture.sampling, mixture.sampling)
    unit, total, far = UNITS[mixture.by], ledger.total, found.furthest
    off = abs(found.made[far] - found.wanted[far])
    lines = [
        f"mixture: {how} by {unit}, {mixture.stop}: {len(found.wanted)} sources, "
        f"{total.examples:,} rows drawn, {total.examples - total.used:,} of them repeats; "
        f"furthest from what was asked: {off:.2%} ({ledger[far].source})"
    ]
    for one in ledger.sources:
        shares = one.shares
        lines.append(
            f"mixture: {one.source}: {shares['rows_percent']:.2f}% of the rows, "
            f"{shares['trained_percent']:.2f}% of the trained tokens, "
            f"{shares['asked_percent']:.2f}% of the {unit} asked; {one.used:,} rows, "
            f"{one.examples - one.used:,} repeats"
        )
    return tuple(lines)


def _figures(found: Draw, ledger: Ledger) -> dict[str, Any]:
    far = found.furthest
    return {
        "rows": ledger.total.examples,
        "repeats": ledger.total.examples - ledger.total.used,
        "furthest_percent": 100 * abs(found.made[far] - found.wanted[far]),
        "furthest_source": ledger[far].source,
    }
