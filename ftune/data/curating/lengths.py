"""Percentiles of lengths that are counted one by one: exact, and as large as the lengths differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

SHOWN = (1, 25, 50, 75, 95, 99)


class Lengths:
    """How often each length was there."""

    def __init__(self) -> None:
        self.times: Counter[int] = Counter()

    def add(self, length: int) -> None:
        """Counts one."""
        self.times[length] += 1

    @property
    def count(self) -> int:
        """How many there are."""
        return self.times.total()

    @property
    def total(self) -> int:
        """Their sum."""
        return sum(length * times for length, times in self.times.items())

    def percentile(self, share: float) -> int:
        """The smallest length that ``share`` percent are not longer than (nearest rank)."""
        wanted, seen = share / 100 * self.count, 0
        for length in sorted(self.times):
            seen += self.times[length]
            if seen >= wanted:
                return length
        return 0

    def to_plain(self) -> Mapping[str, float]:
        """Count, mean, extremes and percentiles."""
        if not self.times:
            return {"count": 0}
        inner = {f"p{share}": self.percentile(share) for share in SHOWN}
        ends = {"min": min(self.times), **inner, "max": max(self.times)}
        return {"count": self.count, "total": self.total, "mean": self.total / self.count, **ends}
