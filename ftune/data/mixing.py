"""How often each row of a mixture is drawn, so that the sources have the shares that were asked.

A share is counted in rows or in trained tokens: ``amounts`` holds what each row counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ftune.errors import DataError

MOST_REPEATS = 1000  # of a source; beyond this a recipe hardly means what it says
FUZZ = 1e-9  # of a pass, for the last digits of a float


def rates(
    sizes: Sequence[float],
    sampling: str,
    temperature: float | None = None,
    cap: int | None = None,
    weights: Sequence[float] | None = None,
) -> tuple[float, ...]:
    """The share of each source, together 1.

    ``proportional``: as large as the sources are. ``examples_proportional``: min(size, cap), so
    that a large source does not crowd out the others. ``temperature``: the same to the power 1 / T;
    T = 1 is examples_proportional, and the larger T is, the nearer to equal shares. ``uniform``:
    equal shares. (Raffel et al. 2020, section 3.5.2.) ``weights`` multiply the shares.

    Sizes are above 0.
    """
    capped = [min(size, cap or math.inf) for size in sizes]
    power = {"uniform": 0.0, "temperature": 1.0 / (temperature or 1.0)}.get(sampling, 1.0)
    # Of the largest one: a power of a small share would be 0.
    shares = [(size / max(capped)) ** power for size in capped]
    shares = [s * w for s, w in zip(shares, weights or [1.0] * len(shares), strict=True)]
    return tuple(share / math.fsum(shares) for share in shares)


def draws(
    sources: np.ndarray,
    amounts: np.ndarray,
    wanted: Sequence[float],
    stop: str,
    seed: int,
    epoch: int = 0,
    before: np.ndarray | None = None,
) -> np.ndarray:
    """How often each row is drawn, int64 of shape (rows,).

    ``sources`` is the source of each row. With ``first_exhausted`` a mixture ends where a source
    has given all that it has, and no row is drawn twice; with ``all_exhausted`` where each source
    has given all of it once, and those that ran out begin again. Two rows of one source are drawn
    equally often, or one of them once more. With ``before``, how often each was drawn in earlier
    epochs, those come first that were drawn least.

    Raises:
        DataError: a source would be repeated more than ``MOST_REPEATS`` times.
    """
    have = np.bincount(sources, weights=amounts, minlength=len(wanted))
    ratios = have / np.maximum(np.asarray(wanted, dtype=np.float64), np.finfo(np.float64).tiny)
    total = float(ratios.min() if stop == "first_exhausted" else ratios.max())
    times = np.zeros(len(sources), dtype=np.int64)
    for source, rate in enumerate(wanted):
        passes = total * rate / float(have[source])
        if passes > MOST_REPEATS:
            raise DataError(
                f"data.mixture: stop: all_exhausted would repeat data.train[{source}] "
                f"{passes:,.0f} times, since it is so small beside its share; write stop: "
                "first_exhausted, a lower data.mixture.temperature or a smaller weight"
            )
        rows = np.flatnonzero(sources == source)
        whole = math.floor(passes + FUZZ)
        left = (passes - whole) * float(have[source])
        # Of a length that no other generator's key has.
        random = np.random.default_rng((seed, source, 0, epoch))
        order = random.permutation(rows)
        if before is not None:
            order = order[np.argsort(before[order], kind="stable")]
        times[rows] = whole
        times[_nearest(order, amounts, left)] += 1
    return times


def _nearest(order: np.ndarray, amounts: np.ndarray, target: float) -> np.ndarray:
    """The first rows of ``order``, with one more or one changed if that comes nearer to ``target``.

    Trained tokens come in whole rows: by the first rows alone a small source misses its share by
    half an answer.
    """
    if target <= FUZZ:
        return order[:0]
    sums = np.cumsum(amounts[order])
    cut = int(np.searchsorted(sums, target, side="right"))
    taken, rest = order[:cut], order[cut:]
    short = target - (float(sums[cut - 1]) if cut else 0.0)
    if not len(rest):
        return taken
    by_size = rest[np.argsort(amounts[rest], kind="stable")]
    # What to find in ``rest``: as much as is missing, or that in place of a row that goes.
    sought = np.append(amounts[taken].astype(np.float64), 0.0) + short
    above = np.searchsorted(amounts[by_size], sought).clip(max=len(rest) - 1)
    both = np.stack([above, (above - 1).clip(min=0)])
    missed = np.abs(amounts[by_size][both] - sought)
    which, goes = np.unravel_index(int(missed.argmin()), missed.shape)
    if missed[which, goes] >= short:
        return taken
    comes = by_size[both[which, goes]]
    return np.append(np.delete(taken, goes) if goes < len(taken) else taken, comes)
