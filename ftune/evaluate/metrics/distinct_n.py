"""Distinct-n: how varied all answers together are, as distinct n-grams among all of them.

Of the whole set, so it falls as a set grows: compare sets of the same rows only. It has no
interval, since rows drawn twice would repeat themselves. After Li et al. (2016), "A
Diversity-Promoting Objective Function for Neural Conversation Models".
"""

from __future__ import annotations

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
        found.append(Metric(f"distinct_{order}", value, "%", signature, None))
    return found
