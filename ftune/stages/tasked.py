"""Which task a row is of, where a model is trained for several: that of the source it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ftune.errors import RecipeError
from ftune.recipe.view import View
from ftune.stages.rows import sources_of
from ftune.types import Batch

if TYPE_CHECKING:
    from ftune.data.store import TokenStore

Collate = Callable[[Any], Batch]


def names_of(recipe: View, split: str) -> tuple[str, ...]:
    """The task of each source of a split; empty names where there are none."""
    return tuple(source.task for source in sources_of(recipe, split))


def with_tasks(
    collate: Collate, store: TokenStore, recipe: View, split: str, model: Any
) -> Collate:
    """``collate`` with the tasks of its rows, where the model knows any."""
    from ftune.model import multitask

    if not multitask.names(model):
        return collate
    numbers = multitask.numbers(model, names_of(recipe, split))

    def told(micro: Any) -> Batch:
        batch = collate(micro)
        return replace(batch, tasks=numbers[store.sources[list(batch.rows)]])

    return told


def batch_with(batch: Batch, model: Any, tasks: Sequence[str]) -> Batch:
    """The batch with the tasks of its lines, where the model knows any."""
    from ftune.model import multitask

    return replace(batch, tasks=multitask.numbers(model, tasks))


def asked(model: Any, task: str | None) -> str:
    """The task that a model is asked, as the user named it; empty for a model without tasks.

    Raises:
        RecipeError: it has no such task, or none is named where there are several.
    """
    from ftune.model import multitask

    there = multitask.names(model)
    if not there and task:
        raise RecipeError(f"--task {task}: the model that is asked was not trained by tasks")
    if not there:
        return ""
    if task is None and len(there) == 1:
        return there[0]
    if task not in there:
        said = "is missing" if task is None else f"{task}: there is no such task"
        raise RecipeError(f"--task {said}; the model was trained for {', '.join(there)}")
    return task
