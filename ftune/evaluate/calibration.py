"""How far a model's confidence in its choices is from how often it is right.

Expected calibration error: Guo et al. 2017, "On Calibration of Modern Neural Networks",
https://arxiv.org/abs/1706.04599, equation 3. Confidence is the probability of what was chosen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ftune.types import Rows

BINS = 10


def binned(pairs: Iterable[tuple[float, bool]], bins: int = BINS) -> Rows:
    """The rows of the error in [0, 1], of each row's confidence and whether it was right.

    The ``bins`` are equally wide. A row has in its own bin how far its confidence is from right or
    wrong, and a one at the end, which counts it.
    """
    values = []
    for confidence, right in pairs:
        row = [0.0] * bins
        row[min(bins - 1, max(0, math.ceil(confidence * bins) - 1))] = confidence - float(right)
        values.append((*row, 1.0))
    return Rows(values, _error)


def error(rows: Rows) -> float:
    """The error of all rows together."""
    return float(rows.combine([math.fsum(column) for column in zip(*rows.values, strict=True)]))


def _error(sums: Sequence[float]) -> float:
    *gaps, count = sums
    return math.fsum(abs(gap) for gap in gaps) / count


def share(losses: Sequence[float]) -> float:
    """The likeliest choice's share of the likelihoods of all, of their losses in nats."""
    least = min(losses)
    return 1 / math.fsum(math.exp(least - each) for each in losses)


def of_choices(rows: Sequence[Mapping[str, Any]]) -> Rows | None:
    """The same of what the harness says of questions with choices; None of other rows."""
    found = [pair for row in rows if (pair := _confidence(row)) is not None]
    return binned(found) if found and len(found) == len(rows) else None


def _confidence(row: Mapping[str, Any]) -> tuple[float, bool] | None:
    """The likeliest choice's share, and whether it is the right one."""
    answers = row["filtered_resps"]
    if "acc" not in row or len(answers) < 2 or isinstance(answers[0], str | float | int):
        return None
    return share([-float(answer[0]) for answer in answers]), bool(row["acc"])
