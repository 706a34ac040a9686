"""All chosen metrics over one set of predictions, and two such sets side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ftune.errors import RecipeError
from ftune.recipe.base import Chosen
from ftune.registry import METRICS
from ftune.types import Metric, Prediction


@dataclass(frozen=True, slots=True)
class Line:
    """One figure before and after; None where it was not measured.

    ``difference`` is after - before. ``better`` says whether it went the way that is wanted, and is
    None where nothing changed or one of the two is missing.
    """

    name: str
    unit: str
    signature: str
    before: float | None
    after: float | None
    difference: float | None
    better: bool | None


def needs(chosen: Sequence[Chosen]) -> frozenset[str]:
    """What the chosen metrics are computed from: "text", "likelihood", both or nothing."""
    return frozenset(METRICS.load(metric.name).NEEDS for metric in chosen)


def score_all(chosen: Sequence[Chosen], predictions: Sequence[Prediction]) -> list[Metric]:
    """The figures of all chosen metrics, in their order.

    Raises:
        RecipeError: two of them give a figure of the same name.
        DataError: a metric can't be computed from these predictions.
    """
    found: dict[str, Metric] = {}
    for metric in chosen:
        for figure in METRICS.load(metric.name).score(predictions, metric.config):
            if figure.name in found:
                raise RecipeError(
                    f"evaluate.metrics: {metric.name} gives {figure.name} a second time; "
                    "leave one of them out"
                )
            found[figure.name] = figure
    return list(found.values())


def compare(before: Sequence[Metric], after: Sequence[Metric]) -> list[Line]:
    """One line a figure, first those of ``after`` in their order.

    Figures whose signatures differ were measured in different ways and get lines of their own.
    """
    left = {(m.name, m.signature): m for m in before}
    right = {(m.name, m.signature): m for m in after}
    keys = [*right, *(key for key in left if key not in right)]
    return [_line(left.get(key), right.get(key)) for key in keys]


def _line(before: Metric | None, after: Metric | None) -> Line:
    one = after or before
    assert one is not None
    difference = after.value - before.value if after and before else None
    better = (difference > 0) == one.higher_is_better if difference else None
    return Line(
        name=one.name,
        unit=one.unit,
        signature=one.signature,
        before=before.value if before else None,
        after=after.value if after else None,
        difference=difference,
        better=better,
    )
