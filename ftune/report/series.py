"""The course of training: what metrics.jsonl holds, as one series of figures per key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ftune.report.tolerant import number, read_lines

Points = tuple[tuple[int, float], ...]  # (optimizer step, figure), by step


@dataclass(frozen=True, slots=True)
class Series:
    """Figures by step; ``names`` are the keys of metrics.jsonl (loss, eval_loss, ...)."""

    points: dict[str, Points] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Points:
        """The points of a key; none if it was never written."""
        return self.points.get(name, ())


def read_series(path: Path, problems: list[str]) -> Series:
    """All series of a metrics.jsonl.

    A resumed run writes the steps after its checkpoint again: the later line counts. Figures that
    aren't finite are left out.
    """
    found: dict[str, dict[int, float]] = {}
    for line in read_lines(path, problems):
        step = number(line.get("step"))
        if step is None:
            continue
        for key, given in line.items():
            figure = number(given)
            if key != "step" and figure is not None:
                found.setdefault(key, {})[int(step)] = figure
    return Series({key: tuple(sorted(points.items())) for key, points in found.items()})
