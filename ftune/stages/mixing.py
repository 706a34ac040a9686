"""The part of stage format that draws the rows of ``data.mixture``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.run import atomic
from ftune.run.pipeline import stop_between
from ftune.run.stage import Context
from ftune.types import Task

if TYPE_CHECKING:
    import numpy as np

    from ftune.data.drawing import Draw
    from ftune.data.ledger import Ledger
    from ftune.data.store import TokenStore

CHECK_EVERY = 256  # rows between two looks at the stop flag and the progress bar


@dataclass(frozen=True)
class Mixed:
    """What is said of a mixture; ``task`` has the labels counted in the rows that are drawn."""

    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: dict[str, Any] | None = None
    task: Task | None = None


def pool(context: Context) -> Path:
    """Where all rows stand until those of the mixture are drawn."""
    return context.folder / f"{atomic.TEMPORARY}{os.getpid()}-pool"


def mix(context: Context, ledger: Ledger, task: Task | None = None) -> Mixed:
    """Draws the rows of train.arrow from the pool, which is removed; ``ledger`` counts them anew.

    Where each epoch draws its own, the pool itself becomes train.arrow, and what to draw of it
    stands beside it; ledger and figures are those of the first.

    Raises:
        DataError: a source has nothing to give.
        Interrupted: it was asked to stop.
    """
    from ftune.data.drawing import draw
    from ftune.data.redrawing import Told
    from ftune.data.store import TokenStore

    data, seed = context.recipe.data, context.recipe.train.seed
    path = pool(context)
    try:
        store = TokenStore(path)
        weights = [source.weight for source in data.train]
        found = draw(store, data.mixture, weights, ledger, seed)
        if data.mixture.redraw:
            Told(found.wanted, data.mixture.by, data.mixture.stop, seed).write(context.folder)
            path.replace(context.folder / "train.arrow")
        else:
            _keep(context, store, found)
    finally:
        path.unlink(missing_ok=True)
    warnings = found.warnings
    if task is not None and task.labels:
        several = getattr(context.recipe.train.objective.config, "multi_label", False)
        by_source = labels_drawn(store, found.times, task, len(weights), several)
        task = replace(task, counts=tuple(int(n) for n in by_source.sum(0)))
        warnings += tuple(_unlike(by_source, task, ledger))
    return Mixed(_lines(data.mixture, found, ledger), warnings, _figures(found, ledger), task)


def _keep(context: Context, store: TokenStore, found: Draw) -> None:
    """Writes the rows that are drawn to train.arrow.

    Raises:
        Interrupted: it was asked to stop.
    """
    from ftune.data.drawing import write

    with context.around.progress.meter("draw train", None, "rows") as meter:
        rows = 0
        for number, rows in enumerate(write(store, found.times, context.folder / "train.arrow")):
            if number % CHECK_EVERY == 0:
                stop_between(context.around.stop, "all rows were formatted")
                meter.update(rows)
        meter.update(rows)


def labels_drawn(
    store: TokenStore, times: np.ndarray, task: Task, sources: int, several: bool
) -> np.ndarray:
    """How often each label is drawn of each source, int64 of shape (sources, labels).

    A target is a label's number; where a row may have ``several`` labels, 1 in the label's place.
    """
    import numpy as np

    targets, many = store.targets()
    of_source, drawn = np.repeat(store.sources, many), np.repeat(times, many)
    number = targets.astype(np.int64)
    if several:
        number, drawn = np.arange(targets.size) % len(task.labels), drawn * (targets == 1)
    there = (number >= 0) & (drawn > 0)
    found = np.zeros((sources, len(task.labels)), np.int64)
    np.add.at(found, (of_source[there], number[there]), drawn[there])
    return found


def _unlike(by_source: np.ndarray, task: Task, ledger: Ledger) -> Iterator[str]:
    """Sources whose drawn rows lack labels that others have."""
    for counts, one in zip(by_source, ledger.sources, strict=True):
        missing = [repr(task.labels[i]) for i in range(len(counts)) if not counts[i]]
        if not missing or not one.used:
            continue
        there = [repr(task.labels[i]) for i in range(len(counts)) if counts[i]]
        yield (
            f"data.mixture: the rows drawn of {one.source} have the labels {_few(there)}, and not "
            f"{_few(missing)}; where sources call the same label by other names, write them alike"
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


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
        f"{total.examples:,} rows drawn"
        + (" for the first epoch, and anew for each further one" if mixture.redraw else "")
        + f", {total.examples - total.used:,} of them repeats; "
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


def redrawn(context: Context, epochs: float) -> dict[str, Any]:
    """What was drawn for so many epochs; nothing where each had the same rows."""
    from ftune.data.redrawing import Redraw, Told
    from ftune.data.store import TokenStore

    told = Told.read(context.folder_of("format"))
    if told is None:
        return {}
    store = TokenStore(context.folder_of("format") / "train.arrow")
    names = [source.path for source in context.recipe.data.train]
    return Redraw(store, told).figures(math.ceil(round(epochs, 6)), names)


def epoch_lines(mixture: Mapping[str, Any]) -> tuple[str, ...]:
    """A line of what ``redrawn`` gave, for the report."""
    if not mixture:
        return ()
    drawn = [one["rows"] for one in mixture["epochs"]]
    return (
        f"mixture: drawn anew for each of {len(drawn)} epochs, {sum(drawn):,} rows in all; "
        f"{mixture['different_rows']:,} of {mixture['rows']:,} rows were drawn at least once",
    )
