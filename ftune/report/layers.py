"""Rates and first steps of the layers, where a training went layer by layer."""

from __future__ import annotations

from ftune.report import numbers
from ftune.report.gather import Gathered
from ftune.report.tolerant import items, mapping, number, text

HEAD = ("layer, top first", "parameters", "highest rate", "trained")


def layer_rows(run: Gathered) -> list[tuple[str, ...]]:
    """Cells under ``HEAD``, as plain text; none where all layers were trained alike."""
    found: list[tuple[str, ...]] = []
    for each in (mapping(one) for one in items(run.figures("train").get("layers"))):
        start = number(each.get("from_step"))
        found.append(
            (
                text(each.get("name")),
                numbers.value(number(each.get("parameters"))),
                numbers.value(number(each.get("learning_rate"))),
                "never" if start is None else f"from step {start:,.0f}",
            )
        )
    return found
