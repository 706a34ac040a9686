"""A picture of many runs whose axes the reader chooses: what it is drawn from, and its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ftune.report.html.pieces import section
from ftune.report.scores import Interval

SCRIPT = "explore.js"
CONTROLS = (
    '<div class="tools"><label>Across <select id="across"></select></label> '
    '<label>Upward <select id="upward"></select></label> '
    '<span id="drawn" class="quiet" aria-live="polite"></span></div>'
    '<div class="wide"><div id="scatter"></div></div>'
)


Kind = Literal["number", "bytes", "seconds", "choice"]
Better = Literal["low", "high", ""]


@dataclass(frozen=True, slots=True)
class Axis:
    """Something that runs are compared by; ``names`` are the values of a choice, in their order."""

    label: str
    kind: Kind = "number"
    better: Better = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dot:
    """A run: for each axis its value (of a choice the place among ``names``), and its interval."""

    name: str
    values: tuple[float | None, ...]
    ends: tuple[Interval | None, ...]
    href: str = ""


@dataclass(frozen=True, slots=True)
class Scatter:
    """The picture; ``x`` and ``y`` are the axes that it begins with."""

    axes: tuple[Axis, ...] = ()
    points: Sequence[Dot] = field(default=())
    x: int = 0
    y: int = 0

    @property
    def drawable(self) -> bool:
        """Whether two runs at least have values on two axes."""
        return len(self.axes) > 1 and len(self.points) > 1

    def payload(self) -> dict[str, Any] | None:
        """For the page's script; None where nothing can be drawn."""
        return asdict(self) if self.drawable else None

    def section(self, note: str = "") -> str:
        """Its part of the page; empty where nothing can be drawn."""
        said = f"Lines: 95% intervals. Point at a dot for its figures. {note}".rstrip()
        return section("explore", "One against another", CONTROLS * self.drawable, said)


def better(higher_is_better: bool | None) -> Better:
    """Which end of a metric's axis is the good one."""
    return "" if higher_is_better is None else "high" if higher_is_better else "low"


def pruned(scatter: Scatter) -> Scatter:
    """The same without axes on which no run has a value; x and y are axes that are left."""
    kept = [
        i
        for i in range(len(scatter.axes))
        if any(point.values[i] is not None for point in scatter.points)
    ]
    if not kept:
        return Scatter()
    points = [
        Dot(p.name, tuple(p.values[i] for i in kept), tuple(p.ends[i] for i in kept), p.href)
        for p in scatter.points
    ]
    x, y = (kept.index(i) if i in kept else 0 for i in (scatter.x, scatter.y))
    return Scatter(tuple(scatter.axes[i] for i in kept), points, x, y)
