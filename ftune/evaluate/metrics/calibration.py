"""Expected calibration error: how far confidence is from how often a model is right.

Guo et al. 2017, "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599,
equation 3. Confidence is the probability of the label that was said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ftune import __version__
from ftune.errors import DataError
from ftune.evaluate.calibration import binned, error
from ftune.evaluate.references import need_references
from ftune.recipe.base import Section
from ftune.types import Metric, Prediction

NEEDS = "text"
OBJECTIVES = ("classification", "multiple_choice")


class Config(Section):
    """How confidence is grouped."""

    bins: Annotated[int, Field(ge=2, le=100)] = 10
    """Equally wide groups of confidence."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:
    """The error from 0 to 1; 0 is best.

    Raises:
        DataError: there are no predictions, or one has no probabilities of labels that sum to 1.
    """
    need_references(predictions, "calibration")
    pairs = []
    for one in predictions:
        if not one.scores or not math.isclose(math.fsum(one.scores), 1, abs_tol=1e-3):
            raise DataError(
                f"{one.source}:{one.row}: calibration needs a probability for each label, one of "
                "which is right; it is for classification with one label, and multiple choice"
            )
        pairs.append((max(one.scores), one.text in one.references))
    rows = binned(pairs, config.bins)
    signature = f"bins:{config.bins}|rows:{len(predictions)}|version:ftune-{__version__}"
    return [Metric("calibration_error", error(rows), "", signature, False, rows)]
