"""The values that a sweep tries, and what its points cost."""

from __future__ import annotations

from typing import Any

from ftune.report.sweep import Swept

# Name, stage, key of its figures.
COSTS = (
    ("trainable", "load", "trainable"),
    ("peak memory", "train", "peak_memory_bytes"),
    ("time", "train", "seconds"),
    ("size on disk", "train", "adapter_bytes"),
)


def values_of(found: Swept, key: str) -> list[Any]:
    """The values of a key, each once, in their order."""
    listed: list[Any] = []
    for spot in found.spots:
        if spot.values[key] not in listed:
            listed.append(spot.values[key])
    return listed


def is_numeric(found: Swept, key: str) -> bool:
    """Whether the key has two values or more, and all are numbers."""
    listed = values_of(found, key)
    return len(listed) > 1 and all(
        isinstance(each, int | float) and not isinstance(each, bool) for each in listed
    )
