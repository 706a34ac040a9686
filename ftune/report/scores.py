"""What the evaluation found: each metric before and after, and whether that is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ftune.report.tolerant import items, mapping, number, text


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of a run; ``base`` is None where the base model was not scored."""

    name: str
    base: float | None
    tuned: float | None
    unit: str = ""
    signature: str = ""
    higher_is_better: bool = True

    @property
    def change(self) -> float | None:
        """Tuned less base; None if one of them isn't there."""
        return None if self.base is None or self.tuned is None else self.tuned - self.base

    @property
    def better(self) -> bool | None:
        """Whether the change is one for the better; None if there is no change to be seen."""
        return None if not self.change else (self.change > 0) == self.higher_is_better

    def to_plain(self) -> dict[str, Any]:
        """For report.json."""
        return {**asdict(self), "change": self.change, "better": self.better}


def scores(figures: Mapping[str, Any]) -> tuple[Score, ...]:
    """The metrics among the figures of the evaluation, in the recipe's order.

    ``figures["metrics"]`` is a list of ``{name, base, tuned, unit, signature, higher_is_better}``.
    """
    return tuple(
        Score(
            name=text(one["name"]),
            base=number(one.get("base")),
            tuned=number(one.get("tuned")),
            unit=text(one.get("unit")),
            signature=text(one.get("signature")),
            higher_is_better=one.get("higher_is_better") is not False,
        )
        for one in map(mapping, items(figures.get("metrics")))
        if one.get("name")
    )
