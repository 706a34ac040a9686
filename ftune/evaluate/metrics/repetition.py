"""Repetition: how much an answer repeats itself, as the share of n-grams that it had before.

seq-rep-n of Welleck et al. (2020), "Neural Text Generation with Unlikelihood Training", of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ftune import __version__
from ftune.evaluate.ngrams import ngrams
from ftune.evaluate.references import need_predictions
from ftune.evaluate.rowwise import mean
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction

NEEDS = "answers"


class Config(Section):
    """Which n-grams."""

    order: Annotated[int, Field(ge=1, le=10)] = 4
    """How many words an n-gram has."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:
    """``repetition_4`` and so on: percent of an answer's n-grams, mean over rows.

    An answer with fewer words repeats none.

    Raises:
        DataError: there are no predictions.
    """
    need_predictions(predictions, "repetition")
    shares = []
    for prediction in predictions:
        counts = ngrams(prediction.text, config.order)
        shares.append(1 - len(counts) / counts.total() if counts else 0.0)
    signature = (
        f"of:each-answer|mean:rows|n:{config.order}|tok:blanks|case:mixed"
        f"|version:ftune-{__version__}"
    )
    value = 100 * sum(shares) / len(shares)
    return [Metric(f"repetition_{config.order}", value, "%", signature, None, mean(shares, 100))]
