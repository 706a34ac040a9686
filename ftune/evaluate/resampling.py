"""How far a figure can be trusted: its interval, and a test of the difference between two.

Percentile bootstrap over rows: Efron and Tibshirani (1993), "An Introduction to the Bootstrap",
chapter 13; for corpus metrics Koehn (2004), "Statistical Significance Tests for Machine Translation
Evaluation". Paired approximate randomization: Noreen (1989); Riezler and Maxwell (2005), "On Some
Pitfalls in Automatic Evaluation and Significance Testing for MT".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ftune.types import Rows

if TYPE_CHECKING:
    import numpy as np

SEED = 12345
SHARE = 95  # percent of the resamples that lie inside the interval
LEAST = 10  # rows; of fewer, resamples say too little, and the interval would be too narrow
CELLS = 2**18  # draws held in memory at once
TESTED = 1e-9  # relative: sums in another order differ in their last digits


def interval(rows: Rows | None, count: int, seed: int = SEED) -> tuple[float, float] | None:
    """The 95% interval of a figure, from ``count`` resamples of its rows with replacement.

    None where the data allow none: fewer than LEAST rows, rows that are all alike, a figure that is
    not made of rows, resamples without a figure, or a figure that lies outside of it.
    """
    import numpy as np

    if rows is None or not count or len(rows.values) < LEAST:
        return None
    values = np.asarray(rows.values, dtype=np.float64)
    draw = np.random.default_rng(seed)
    total = len(values)
    found: list[float] = []
    for size in _chunks(count, total):
        drawn = draw.integers(0, total, (size, total)) + np.arange(size)[:, None] * total
        times = np.bincount(drawn.ravel(), minlength=size * total).reshape(size, total)
        found += _figures(rows, times.astype(np.float64) @ values)
    low, high = np.percentile(found, [(100 - SHARE) / 2, (100 + SHARE) / 2]).tolist()
    # Not a number if one resample had no figure; no width if the rows can't be told apart. Where
    # the figure itself is outside, drawn rows are not like the rows there are.
    [whole] = _figures(rows, values.sum(0)[None])
    return (low, high) if high > low and low <= whole <= high else None


def p_value(before: Rows | None, after: Rows | None, count: int, seed: int = SEED) -> float | None:
    """How often chance alone makes a difference as large as that of the two figures, either way.

    In each of ``count`` trials every row's answers change sides or stay, by the toss of a coin; p
    is the share of trials, the actual one counted in, whose difference is at least as large. Of few
    rows all ways are tried, once each, and p is exact. None where one figure is not made of the
    same rows as the other, or a trial has no figure.
    """
    import numpy as np

    if before is None or after is None or not count:
        return None
    left = np.asarray(before.values, dtype=np.float64)
    right = np.asarray(after.values, dtype=np.float64)
    if left.shape != right.shape or not left.size:
        return None
    gap, sums = right - left, (left.sum(0), right.sum(0))
    actual = _differences(before, after, sums[0][None], sums[1][None])[0]
    found = []
    for tosses in _tosses(len(left), count, seed):
        moved = tosses.astype(np.float64) @ gap
        found.append(_differences(before, after, sums[0] + moved, sums[1] - moved))
    trials = np.abs(np.concatenate(found))
    if not (np.isfinite(trials).all() and np.isfinite(actual)):
        return None
    reached = int((trials >= abs(actual) * (1 - TESTED)).sum())
    if _all_fit(len(left), count):
        return reached / len(trials)
    return (reached + 1) / (count + 1)


def _all_fit(total: int, count: int) -> bool:
    """Whether ``count`` trials suffice for every way in which the coins of ``total`` rows fall."""
    return total < 32 and 2**total <= count


def _tosses(total: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """Coins of shape (trials, total), 0 or 1: every way once where all fit, else drawn ones."""
    import numpy as np

    if _all_fit(total, count):
        yield np.arange(2**total)[:, None] >> np.arange(total) & 1
        return
    draw = np.random.default_rng(seed)
    for size in _chunks(count, total):
        yield draw.integers(0, 2, (size, total))


def _chunks(count: int, total: int) -> list[int]:
    """``count`` in pieces that hold at most CELLS draws of ``total`` rows."""
    size = max(1, CELLS // total)
    return [min(size, count - start) for start in range(0, count, size)]


def _differences(before: Rows, after: Rows, left: Any, right: Any) -> np.ndarray:
    import numpy as np

    return np.array(_figures(after, right)) - np.array(_figures(before, left))


def _figures(rows: Rows, sums: Any) -> list[float]:
    """A figure for each of ``sums``, of shape (resamples, numbers); NaN where there is none."""
    return [_figure(rows, each) for each in sums.tolist()]


def _figure(rows: Rows, sums: list[float]) -> float:
    try:
        return float(rows.combine(sums))
    except (ZeroDivisionError, OverflowError):
        return float("nan")
