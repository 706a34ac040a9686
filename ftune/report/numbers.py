"""Figures in words that people read: 1.5 GB, 2m 05s, 12,345."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftune.report.tolerant import number, text

ABSENT = "–"  # what a figure that isn't there looks like


def value(figure: float | None) -> str:
    """A figure with as many digits as matter: about four."""
    if figure is None:
        return ABSENT
    if isinstance(figure, int) or (figure.is_integer() and abs(figure) >= 1000):
        return f"{int(figure):,}"
    size = abs(figure)
    if size == 0:
        return "0"
    if size >= 1000:
        return f"{figure:,.0f}"
    if size >= 100:
        return f"{figure:.1f}"
    if size >= 1:
        return f"{figure:.2f}"
    return f"{figure:.4f}" if size >= 0.001 else f"{figure:.3g}"


def signed(figure: float | None) -> str:
    """A difference, with its sign."""
    if figure is None:
        return ABSENT
    words = value(figure)
    return f"+{words}" if figure > 0 else words


def interval(ends: tuple[float, float] | None) -> str:
    """Where a figure lies: 12.30 to 15.10."""
    return ABSENT if ends is None else f"{value(ends[0])} to {value(ends[1])}"


def chance(p: float | None) -> str:
    """A p-value: two digits that matter, and none that were not measured."""
    return ABSENT if p is None else f"{p:.2g}" if p >= 0.001 else "< 0.001"


def duration(seconds: float | None) -> str:
    """A time span: 0.8s, 42s, 2m 05s, 3h 07m, 2d 04h."""
    if seconds is None:
        return ABSENT
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def size(count: float | None) -> str:
    """Bytes in decimal units: 812 B, 9.4 kB, 1.53 GB."""
    if count is None:
        return ABSENT
    amount, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while abs(amount) >= 999.5 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:.0f} B" if units[0] == "B" else f"{amount:.3g} {units[0]}"


def figure(key: str, given: Any) -> str:
    """A figure of a stage; its key says what it counts (bytes, seconds, percent)."""
    amount = number(given)
    if given is None:
        return ABSENT
    if amount is None:
        return ("yes" if given else "no") if isinstance(given, bool) else text(given)
    if key == "bytes" or key.endswith("_bytes"):
        return size(amount)
    if key == "seconds" or key.endswith("_seconds"):
        return duration(amount)
    return value(amount) + ("%" if key.endswith("percent") else "")


def label(key: str) -> str:
    """A key as people write it: peak_memory_bytes is "peak memory", since its figure has a unit."""
    whole = {"bytes": "size", "seconds": "time"}.get(key)
    if key.endswith("_percent"):
        return key.removesuffix("_percent").replace("_", " ") + " share"
    return whole or key.removesuffix("_bytes").removesuffix("_seconds").replace("_", " ")


def rows(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The single figures of a stage, each as its label and its value; tables and lists are left
    out, since they are shown elsewhere."""
    return [
        (label(key), figure(key, given))
        for key, given in figures.items()
        if given is not None and not isinstance(given, Mapping | list | tuple)
    ]
