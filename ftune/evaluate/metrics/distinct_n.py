"""Distinct-n: how varied all answers together are, as distinct n-grams among all of them.

Of the whole set, so it falls as a set grows: compare sets of the same rows only. After Li et al.
(2016), "A Diversity-Promoting Objective Function for Neural Conversation Models".

Rows drawn twice would repeat themselves, so its interval is none of a bootstrap but of the
jackknife, which leaves out one row at a time: the figure and 1.96 standard errors to each side. For
any figure that does not depend on the rows' order the jackknife's variance is on average not too
small: Efron and Stein (1981), "The Jackknife Estimate of Variance".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ftune import __version__
from ftune.evaluate.ngrams import ngrams
from ftune.evaluate.references import need_predictions
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction

NEEDS = "answers"
LEAST = 10  # rows; of fewer, an interval would say too little
WIDTH = 1.96  # standard errors to each side of the middle 95% of a normal distribution


class Config(Section):
    """Which n-grams."""

    orders: Annotated[tuple[Annotated[int, Field(ge=1, le=10)], ...], Field(min_length=1)] = (1, 2)
    """How many words an n-gram has; a figure for each."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:
    """``distinct_1`` and so on: percent of n-grams that are distinct; 0 where there are none.

    Raises:
        DataError: there are no predictions.
    """
    need_predictions(predictions, "distinct_n")
    found = []
    for order in dict.fromkeys(config.orders):
        counts: Counter[tuple[str, ...]] = Counter()
        for prediction in predictions:
            counts.update(ngrams(prediction.text, order))
        signature = (
            f"of:all-answers|per:ngram|n:{order}|tok:blanks|case:mixed"
            f"|rows:{len(predictions)}|version:ftune-{__version__}"
        )
        value = 100 * len(counts) / max(1, counts.total())
        own = _interval(value, counts, predictions, order)
        found.append(Metric(f"distinct_{order}", value, "%", signature, None, interval=own))
    return found


def _interval(
    value: float, counts: Counter[tuple[str, ...]], predictions: Sequence[Prediction], order: int
) -> tuple[float, float] | None:
    """The interval of 95%; None of fewer than LEAST rows, or where they are all alike."""
    many, total = len(predictions), counts.total()
    left_out = []
    for prediction in predictions:
        own = Counter(ngrams(prediction.text, order))
        alone = sum(counts[gram] == count for gram, count in own.items())
        if own.total() == total:
            return None
        left_out.append(100 * (len(counts) - alone) / (total - own.total()))
    mean = math.fsum(left_out) / many
    error = math.sqrt((many - 1) / many * math.fsum((one - mean) ** 2 for one in left_out))
    if many < LEAST or not error:
        return None
    return max(0.0, value - WIDTH * error), min(100.0, value + WIDTH * error)
