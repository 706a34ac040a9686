"""All chosen metrics over one set of predictions, and two such sets side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ftune.errors import RecipeError
from ftune.evaluate.resampling import interval, p_value
from ftune.recipe.base import Chosen
from ftune.registry import METRICS
from ftune.types import Metric, Prediction


@dataclass(frozen=True, slots=True)
class Line:
    """One figure before and after; None where it was not measured.

    The intervals are of 95%; ``p`` is of the test that the two differ, row for row. They are None
    where the data allow none (see ``resampling``).
    """

    name: str
    unit: str
    signature: str
    higher_is_better: bool | None
    before: float | None
    after: float | None
    before_interval: tuple[float, float] | None = None
    after_interval: tuple[float, float] | None = None
    p: float | None = None


def needs(chosen: Sequence[Chosen]) -> frozenset[str]:
    """What the chosen metrics are computed from: "text" (answers and references), "answers",
    "likelihood", "choices", or nothing."""
    return frozenset(METRICS.load(metric.name).NEEDS for metric in chosen)


def check(chosen: Sequence[Chosen]) -> None:
    """Refuses metrics that could only fail when all is done: those with a ``check`` of their own.

    Raises:
        FtuneError: what a metric needs is not there.
    """
    for metric in chosen:
        own = getattr(METRICS.load(metric.name), "check", None)
        if own is not None:
            own(metric.config)


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


def compare(before: Sequence[Metric], after: Sequence[Metric], resamples: int = 0) -> list[Line]:
    """One line a figure, first those of ``after`` in their order.

    Figures whose signatures differ were measured in different ways and get lines of their own.
    ``resamples`` is how many are drawn for an interval and for a test; 0 leaves both out.
    """
    left = {(m.name, m.signature): m for m in before}
    right = {(m.name, m.signature): m for m in after}
    keys = [*right, *(key for key in left if key not in right)]
    return [_line(left.get(key), right.get(key), resamples) for key in keys]


def _line(before: Metric | None, after: Metric | None, resamples: int) -> Line:
    one = after or before
    assert one is not None
    return Line(
        name=one.name,
        unit=one.unit,
        signature=one.signature,
        higher_is_better=one.higher_is_better,
        before=before.value if before else None,
        after=after.value if after else None,
        before_interval=_interval(before, resamples),
        after_interval=_interval(after, resamples),
        p=p_value(before.rows, after.rows, resamples) if before and after else None,
    )


def _interval(one: Metric | None, resamples: int) -> tuple[float, float] | None:
    if one is None or not resamples:
        return None
    return one.interval or interval(one.rows, resamples)
