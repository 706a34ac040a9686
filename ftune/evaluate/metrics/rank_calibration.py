"""Expected calibration error of ranked answers: how far a model's confidence is from being right.

Confidence is the likeliest answer's share of the likelihoods of all answers to its prompt, each by
its length as ``normalize`` says; the error is that of Guo et al. 2017, "On Calibration of Modern
Neural Networks", https://arxiv.org/abs/1706.04599, equation 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ftune import __version__
from ftune.evaluate.calibration import BINS, binned, error, share
from ftune.evaluate.metrics import rank_accuracy
from ftune.evaluate.references import need_references
from ftune.types import Metric, Prediction

NEEDS = "choices"


class Config(rank_accuracy.Config):
    """Which answers there are, how their likelihoods are compared, and confidence grouped."""

    bins: Annotated[int, Field(ge=2, le=100)] = BINS
    """Equally wide groups of confidence."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:
    """The error from 0 to 1; 0 is best.

    Raises:
        DataError: there are no predictions, a row has no choices, or its answer is none of them.
    """
    need_references(predictions, "rank_calibration")
    pairs = []
    for one in predictions:
        answers = rank_accuracy.of_row(one, config, "rank_calibration")
        sure = share([rank_accuracy.loss(each, config) for each in answers])
        pairs.append((sure, best(one, config) in [r.strip() for r in one.references]))
    rows = binned(pairs, config.bins)
    end = "yes" if config.end_mark else "no"
    signature = (
        f"ece|bins:{config.bins}|rank:likelihood|norm:{config.normalize}|end:{end}"
        f"|rows:{len(predictions)}|version:ftune-{__version__}"
    )
    return [Metric("calibration_error", error(rows), "", signature, False, rows)]


def best(prediction: Prediction, config: Config) -> str:
    """The likeliest answer of a row, without space around it."""
    return rank_accuracy.best(prediction, config, "rank_calibration")
