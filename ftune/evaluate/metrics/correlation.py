"""Pearson's and Spearman's correlation of numbers, and their squared error (STS-B).

The figures are those of scipy's ``pearsonr`` and ``spearmanr`` and scikit-learn's
``mean_squared_error``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ftune import __version__
from ftune.errors import DataError
from ftune.evaluate.references import need_references
from ftune.evaluate.rowwise import mean
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction, Rows

NEEDS = "text"
OBJECTIVES = ("regression",)
MOST = 2000  # rows from which intervals of ranks are drawn; their work grows with the square


class Config(Section):
    """It has no options."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:  # noqa: ARG001
    """Both correlations, from -1 to 1 and 0 where one side never varies, and the squared error.

    Raises:
        DataError: there are no predictions, or one or its reference is no number.
    """
    need_references(predictions, "correlation")
    said = [_number(p, p.text) for p in predictions]
    right = [_number(p, p.references[0]) for p in predictions]
    signature = f"rows:{len(predictions)}|version:ftune-{__version__}"
    # From their means, so that sums of squares keep their digits.
    middle, centre = math.fsum(said) / len(said), math.fsum(right) / len(right)
    values = [
        (1.0, a - middle, b - centre, (a - middle) ** 2, (b - centre) ** 2,
         (a - middle) * (b - centre))
        for a, b in zip(said, right, strict=True)
    ]  # fmt: skip
    sums = [math.fsum(column) for column in zip(*values, strict=True)]
    squares = [(a - b) ** 2 for a, b in zip(said, right, strict=True)]
    ranks = _pearson([1.0, *_moments(_ranks(said), _ranks(right))])
    return [
        Metric("pearson", _pearson(sums), "", signature, rows=Rows(values, _pearson)),
        Metric("spearman", ranks, "", signature, rows=_ranked(said, right)),
        Metric(
            "squared_error",
            math.fsum(squares) / len(squares),
            "",
            signature,
            False,
            mean(squares, 1),
        ),
    ]


def _number(prediction: Prediction, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(
            f"{prediction.source}:{prediction.row}: {text[:40]!r} is not a number, and correlation "
            "is of numbers"
        ) from None


def _pearson(sums: Sequence[float]) -> float:
    count, a, b, aa, bb, ab = sums
    left, right = aa - a * a / count, bb - b * b / count
    return (ab - a * b / count) / math.sqrt(left * right) if left > 0 and right > 0 else 0.0


def _ranked(said: Sequence[float], right: Sequence[float]) -> Rows | None:
    """Rows from whose sums Spearman's correlation can be made again: how often each row is drawn,
    and its number so many times. None for more rows than that is worth."""
    import numpy as np

    total = len(said)
    if total > MOST:
        return None
    true = np.asarray(right)

    def combine(sums: Sequence[float]) -> float:
        times, numbers = np.asarray(sums[:total]), np.asarray(sums[total:])
        there = times > 0.5
        drawn = np.rint(times[there])
        # To so many digits that a number is again what it was before it was multiplied.
        mine = _weighted_ranks(np.round(numbers[there] / times[there], 10), drawn)
        theirs = _weighted_ranks(true[there], drawn)
        mine -= np.average(mine, weights=drawn)
        theirs -= np.average(theirs, weights=drawn)
        spread = float((drawn * mine * mine).sum() * (drawn * theirs * theirs).sum())
        return float((drawn * mine * theirs).sum()) / math.sqrt(spread) if spread > 0 else 0.0

    return Rows(_Places(said), combine)


class _Places(Sequence[Sequence[float]]):
    """A one in each row's place, and behind them its number in the same place of as many.

    They are made when they are wanted: of 2,000 rows they are 64 MB.
    """

    def __init__(self, numbers: Sequence[float]) -> None:
        self._numbers = tuple(numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, at: Any) -> Any:
        many = len(self._numbers)
        row = [0.0] * (2 * many)
        row[at], row[many + at] = 1.0, self._numbers[at]
        return row

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        import numpy as np

        places = np.arange(len(self._numbers))
        values = np.zeros((len(places), 2 * len(places)), dtype=dtype or np.float64)
        values[places, places] = 1
        values[places, len(places) + places] = self._numbers
        return values


def _weighted_ranks(numbers: Any, times: Any) -> Any:
    """The mean rank of each number, where it is there several ``times``."""
    import numpy as np

    _, places = np.unique(numbers, return_inverse=True)
    count = np.bincount(places, weights=times)
    return (np.cumsum(count) - (count - 1) / 2)[places]


def _moments(a: Sequence[float], b: Sequence[float]) -> tuple[float, ...]:
    """Sums for ``_pearson`` of numbers that are centred here, as if of one row."""
    x, y = math.fsum(a) / len(a), math.fsum(b) / len(b)
    pairs = [(p - x, q - y) for p, q in zip(a, b, strict=True)]
    squares = (math.fsum(p * p for p, _ in pairs), math.fsum(q * q for _, q in pairs))
    return 0.0, 0.0, *squares, math.fsum(p * q for p, q in pairs)


def _ranks(values: Sequence[float]) -> list[float]:
    """The rank of each, from 1; equal ones share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for at in order[start : end + 1]:
            ranks[at] = (start + end) / 2 + 1
        start = end + 1
    return ranks
