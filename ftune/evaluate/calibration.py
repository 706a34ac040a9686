"""How far a model's confidence in its choices is from how often it is right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

BINS = 10


def expected_error(rows: Sequence[Mapping[str, Any]], bins: int = BINS) -> float | None:
    """Expected calibration error in [0, 1] (Guo et al. 2017, eq. 3), of questions with choices.

    Confidence is the likeliest choice's share of the choices' likelihoods; ``bins`` are equally
    wide. None if the rows are no such questions.
    """
    found = [pair for row in rows if (pair := _confidence(row)) is not None]
    if not found or len(found) < len(rows):
        return None
    confident, right, count = [0.0] * bins, [0.0] * bins, [0] * bins
    for confidence, correct in found:
        at = min(bins - 1, math.ceil(confidence * bins) - 1)
        confident[at] += confidence
        right[at] += correct
        count[at] += 1
    gaps = (abs(c - r) for c, r in zip(confident, right, strict=True))
    return sum(gaps) / len(found)


def _confidence(row: Mapping[str, Any]) -> tuple[float, bool] | None:
    """The likeliest choice's share, and whether it is the right one."""
    answers = row["filtered_resps"]
    if "acc" not in row or len(answers) < 2 or isinstance(answers[0], str | float | int):
        return None
    likelihoods = [float(answer[0]) for answer in answers]
    top = max(likelihoods)
    share = 1 / sum(math.exp(each - top) for each in likelihoods)
    return share, bool(row["acc"])
