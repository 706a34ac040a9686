"""Rules of ``data.streaming``: what would need all rows before the first step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ftune.recipe.places import Problem, unread_key
from ftune.recipe.streaming import Streaming
from ftune.registry import OBJECTIVES


def streaming(recipe: Any) -> Iterator[Problem]:
    """A stream has no size, so nothing may follow from one."""
    section = recipe.data.streaming
    if section is None:
        return
    if recipe.train.max_steps is None:
        yield Problem(
            ("train", "max_steps"),
            "data.streaming needs train.max_steps: a stream may have no end, so nobody can count "
            "its epochs; add it",
        )
    if recipe.data.mixture is not None:
        yield Problem(
            ("data", "mixture"),
            "data.mixture needs the sizes of its sources, and those of data.streaming are unknown; "
            "remove it, and set weight at each source: that is its share of a stream",
        )
    for split in ("eval", "test"):
        if isinstance(getattr(recipe.data, split), float):
            yield Problem(
                ("data", split),
                f"data.{split}: a share of a stream can't be held out before all of it was read; "
                "name sources of their own, such as a file with a thousand rows",
            )
    if recipe.train.tokens_per_batch is not None:
        yield Problem(
            ("train", "tokens_per_batch"),
            "train.tokens_per_batch: how many steps a buffer of data.streaming gives would follow "
            "from rows that nobody has read; set per_device_train_batch_size instead (with "
            "data.packing, if rows are short)",
        )
    yield from _objective(recipe)
    if len(recipe.data.train) == 1:
        why = "with one source; remove it"
        default = Streaming.model_fields["by"].default
        yield from unread_key(("data", "streaming", "by"), section.by, default, why)
        yield from unread_key(("data", "train", 0, "weight"), recipe.data.train[0].weight, 1.0, why)


def _objective(recipe: Any) -> Iterator[Problem]:
    name = recipe.train.objective.name
    if name in OBJECTIVES.names() and hasattr(OBJECTIVES.load(name), "KIND"):
        yield Problem(
            ("data", "streaming"),
            f"data.streaming: {name} needs to know all rows before the first step; remove it",
        )


RULES: tuple[Callable[[Any], Iterator[Problem]], ...] = (streaming,)
