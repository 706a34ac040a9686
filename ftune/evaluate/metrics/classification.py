"""Precision, recall, F1 and Matthews' correlation of the labels that answers begin with.

Labels are found as accuracy finds them. The figures are those of scikit-learn's
``precision_recall_fscore_support`` (``zero_division=0``) and ``matthews_corrcoef``, which is not
defined for several labels a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal

from pydantic import Field

from ftune import __version__
from ftune.errors import DataError
from ftune.evaluate import exactly
from ftune.evaluate.metrics import accuracy
from ftune.evaluate.metrics.accuracy import named_label
from ftune.evaluate.normalizing import Normalization, extract, normalize
from ftune.evaluate.references import need_references
from ftune.types import Metric, Prediction, Rows

NEEDS = "text"
NOT_FOR = {**accuracy.NOT_FOR, "multiple_choice": "accuracy"}
MOST = 200  # labels; more are no labels but answers


class Config(Normalization):
    """How labels are found, and how their figures become one."""

    ignore_case: bool = True
    """Compare without regard to upper and lower case."""
    labels: tuple[str, ...] = Field(default=())
    """All labels there are; empty: those that occur as references."""
    average: Literal["macro", "micro", "weighted"] = "macro"
    """The mean over labels that occur, one count over all rows, or the mean by how often a label is
    right."""


def score(predictions: Sequence[Prediction], config: Config) -> list[Metric]:
    """Precision, recall and F1 in percent, and the correlation from -1 to 1 over all labels.

    An answer without a label is a label of its own that is never right. Of several references the
    one that the answer names counts, else the first.

    Raises:
        DataError: there are no predictions, a row has no label, or there are too many labels.
    """
    need_references(predictions, "classification")
    if (found := exactly.pairs(predictions)) is not None:
        labels = sorted({label for pair in found for label in pair.said | pair.right})
        _check_number(labels)
        rows = [_row(pair.said, pair.right, labels) for pair in found]
        # What is said is no part of it: the base says other labels, and is to be compared.
        true = len(frozenset().union(*(pair.right for pair in found)))
        single = not predictions[0].multi_label
        return _figures(rows, config, f"match:labels|labels:{true}", single)
    rights = [_rights(p, config) for p in predictions]
    given = {normalize(label, config) for label in config.labels}
    labels = sorted(given.union(*rights) - {""})
    _check_number(labels)
    longest = sorted(labels, key=lambda label: (-len(label), label))
    rows = []
    for prediction, right in zip(predictions, rights, strict=True):
        named = named_label(_plain(prediction.text, config), longest)
        rows.append(_row({named} - {None}, {named if named in right else right[0]}, labels))
    shared = f"match:label-at-start|labels:{len(labels)}|{config.described()}"
    return _figures(rows, config, shared, single=True)


def _check_number(labels: Sequence[str]) -> None:
    if len(labels) > MOST:
        raise DataError(
            f"data.test: classification finds {len(labels):,} labels in the references, and takes "
            f"at most {MOST}; give it answers that are labels, or use exact_match"
        )


def _figures(
    values: Sequence[Sequence[int]], config: Config, shared: str, single: bool
) -> list[Metric]:
    """All figures of what ``_row`` gives of each row; the correlation for one label a row only."""
    sums = [float(sum(column)) for column in zip(*values, strict=True)]
    behind = f"{shared}|rows:{len(values)}|version:ftune-{__version__}"
    found = []
    for place, name in enumerate(("precision", "recall", "f1")):
        combine = _averaged(config.average, place)
        signature = f"average:{config.average}|zero:0|{behind}"
        rows = Rows(values, combine)
        found.append(Metric(name, combine(sums), "%", signature, rows=rows))
    if single:
        found.append(Metric("mcc", _correlation(sums), "", behind, rows=Rows(values, _correlation)))
    return found


def _plain(text: str, config: Config) -> str:
    return normalize(extract(text, config) or "", config)


def _rights(prediction: Prediction, config: Config) -> list[str]:
    """The labels of a row's references."""
    found = [label for r in prediction.references if (label := _plain(r, config))]
    if not found:
        raise DataError(
            f"{prediction.source}:{prediction.row}: classification finds no label in the reference "
            f"{prediction.references[0][:80]!r}; correct the row or the metric's pattern"
        )
    return found


def _row(
    named: AbstractSet[str | None], right: AbstractSet[str | None], labels: Sequence[str]
) -> tuple[int, ...]:
    """Whether each label was said rightly, was said, and was right."""
    hit = tuple(int(label in named and label in right) for label in labels)
    said = tuple(int(label in named) for label in labels)
    true = tuple(int(label in right) for label in labels)
    return (*hit, *said, *true)


def _split(sums: Sequence[float]) -> tuple[Sequence[float], Sequence[float], Sequence[float]]:
    third = len(sums) // 3
    return sums[:third], sums[third : 2 * third], sums[2 * third :]


def _averaged(average: str, place: int) -> Callable[[Sequence[float]], float]:
    """Precision, recall or F1 (``place`` 0 to 2) in percent, of the sums of rows."""

    def combine(sums: Sequence[float]) -> float:
        hit, said, true = _split(sums)
        if average == "micro":
            return 100 * _one(sum(hit), sum(said), sum(true))[place]
        each = [_one(*counts)[place] for counts in zip(hit, said, true, strict=True)]
        if average == "macro":
            # As scikit-learn does by default. A rare label is missing from many a resample, which
            # would otherwise count as 0 there.
            there = [a or b for a, b in zip(said, true, strict=True)]
            return 100 * sum(each) / max(1, sum(map(bool, there)))
        weighted = sum(value * count for value, count in zip(each, true, strict=True))
        return 100 * weighted / max(1, sum(true))

    return combine


def _one(hit: float, said: float, true: float) -> tuple[float, float, float]:
    """Precision, recall and F1; 0 where there is nothing to divide by."""
    both = said + true
    return hit / said if said else 0.0, hit / true if true else 0.0, 2 * hit / both if both else 0.0


def _correlation(sums: Sequence[float]) -> float:
    """Matthews' correlation of several labels: Gorodkin (2004), "Comparing two K-category
    assignments by a K-category correlation coefficient"; 0 where one side never varies."""
    hit, said, true = _split(sums)
    rows = sum(true)
    unnamed = rows - sum(said)
    top = sum(hit) * rows - sum(a * b for a, b in zip(said, true, strict=True))
    left = rows**2 - sum(a * a for a in said) - unnamed**2
    right = rows**2 - sum(b * b for b in true)
    return top / math.sqrt(left * right) if left > 0 and right > 0 else 0.0
