"""What the evaluation found: each metric before and after, and whether that is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ftune.report import verdict
from ftune.report.tolerant import items, mapping, number, text

Interval = tuple[float, float]
RETAINED = " (retained)"  # behind the names of what was asked of other rows, set/metric
PERTURBED = ("|perturbed:", "|worst-of:")  # in the signatures of what was asked in other words


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of a run; ``base`` is None where the base model was not scored.

    ``p`` is of the test that tuned and base differ. It and the 95% intervals are None where none
    was made, and ``higher_is_better`` where the metric only describes.
    """

    name: str
    base: float | None
    tuned: float | None
    unit: str = ""
    signature: str = ""
    higher_is_better: bool | None = True
    base_interval: Interval | None = None
    tuned_interval: Interval | None = None
    p: float | None = None

    @property
    def perturbed(self) -> bool:
        """Whether the test rows were asked in other words than their own."""
        return any(mark in self.signature for mark in PERTURBED)

    @property
    def aside(self) -> bool:
        """Whether it is a figure of something else than the test rows as they are."""
        return self.perturbed or self.name.endswith(RETAINED)

    @property
    def change(self) -> float | None:
        """Tuned less base; None if one of them isn't there."""
        return None if self.base is None or self.tuned is None else self.tuned - self.base

    @property
    def better(self) -> bool | None:
        """Whether the change is one for the better; None if the test does not say that it is one,
        or there was no test."""
        return verdict.better(self.change, self.higher_is_better, self.p)

    @property
    def verdict(self) -> str:
        """The same in words."""
        return verdict.verdict(self.change, self.higher_is_better, self.p)

    def to_plain(self) -> dict[str, Any]:
        """For report.json."""
        said = {"change": self.change, "better": self.better, "verdict": self.verdict}
        return {**asdict(self), **said}


def scores(figures: Mapping[str, Any]) -> tuple[Score, ...]:
    """The metrics among the figures of the evaluation, in the recipe's order.

    ``figures["metrics"]`` is a list of ``{name, base, tuned, base_interval, tuned_interval, p,
    unit, signature, higher_is_better}``.
    """
    return tuple(
        Score(
            name=text(one["name"]),
            base=number(one.get("base")),
            tuned=number(one.get("tuned")),
            unit=text(one.get("unit")),
            signature=text(one.get("signature")),
            higher_is_better=_direction(one.get("higher_is_better", True)),
            base_interval=_interval(one.get("base_interval")),
            tuned_interval=_interval(one.get("tuned_interval")),
            p=number(one.get("p")),
        )
        for one in map(mapping, items(figures.get("metrics")))
        if one.get("name")
    )


def _direction(given: Any) -> bool | None:
    return None if given is None else given is not False


def _interval(given: Any) -> Interval | None:
    ends = [number(each) for each in items(given)]
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        return None
    return ends[0], ends[1]
