"""Where a recipe names extensions, and how each of these places is written.

- ``tune``: the keys of the Config stand beside ``method``;
- a source: ``format`` is the name, and ``columns`` holds the Config;
- ``train.objective`` and each of ``evaluate.metrics``: a name, or ``{name: {keys}}``.
"""

from __future__ import annotations

from ftune.recipe.places import KeyPath
from ftune.registry import FORMATS, METHODS, METRICS, OBJECTIVES, Family

FAMILIES: dict[str, Family] = {
    "tune": METHODS,
    "format": FORMATS,
    "objective": OBJECTIVES,
    "metrics": METRICS,
}
SOURCES = ("train", "eval", "test")  # the keys of data that hold sources
DEFAULT_OBJECTIVE = "sft"


def name_path(slot: KeyPath) -> KeyPath:
    """Where the name of the extension at ``slot`` is written."""
    return (*slot, "method") if slot == ("tune",) else slot


def config_path(slot: KeyPath, name: str) -> KeyPath:
    """Where the Config of the extension ``name`` at ``slot`` is written."""
    if slot == ("tune",):
        return slot
    if slot[-1] == "format":
        return (*slot[:-1], "columns")
    return (*slot, name)
