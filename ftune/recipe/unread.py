"""Keys that were written into a recipe and did nothing in a run, each with the reason.

A key does nothing where no stage read it, or where what was read never came due (evaluate every
500 steps of a training of 100). What a rule of ``checks`` refuses never gets here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ftune.recipe.places import KeyPath
from ftune.recipe.schema import Recipe

# Read by the run itself, which is no stage, or before it.
RUN = ("name", "runs_dir", "train.grace_seconds", "distributed.timeout_seconds", "sweep")
SLOTS = ("evaluate.metrics", "train.objective")  # a name is read here, and its options apart
Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Unread:
    """A key of the recipe, without indexes, and why it did nothing."""

    key: str
    why: str

    def __str__(self) -> str:
        return f"{self.key} had no effect: {self.why}"


def unread(
    recipe: Recipe, written: Iterable[KeyPath], reads: Collection[str], figures: Figures
) -> list[Unread]:
    """What did nothing of the ``written`` keys, in their order.

    Args:
        recipe: as it ran.
        written: paths of the values in the file and of those set on the command line.
        reads: dotted keys that the stages read.
        figures: what the stage train reported (``steps``, ...); empty if it reported nothing.
    """
    keys = dict.fromkeys(".".join(s for s in path if isinstance(s, str)) for path in written)
    idle = {one.key: one for rule in RULES for one in rule(recipe, figures)}
    found = []
    for key in keys:
        if key in idle:
            found.append(idle[key])
        elif key not in RUN and not _was_read(key, reads):
            found.append(Unread(key, _reason(recipe, key)))
    return found


def _was_read(key: str, reads: Collection[str]) -> bool:
    """Whether the key, a part of it, or the value that it is a part of was read."""
    if any(one == key or one.startswith(f"{key}.") for one in reads):
        return True
    above = [one for one in reads if key.startswith(f"{one}.")]
    slot = next((s for s in SLOTS if key.startswith(f"{s}.")), None)
    if slot is None:
        return bool(above)
    if any(one.startswith(f"{slot}.") for one in above):
        return True  # an option that is a mapping, read as a whole: class_weights
    # A name with empty options: ``evaluate.metrics: [{bleu: {}}]``.
    return slot in above and "." not in key.removeprefix(f"{slot}.")


def _reason(recipe: Recipe, key: str) -> str:
    if key.startswith("evaluate.generation.") or key == "evaluate.batch_size":
        if not recipe.evaluate.metrics:
            return "evaluate.metrics names none, so nothing was generated; ftune generate reads it"
        return "no metric that was chosen looks at answers; ftune generate reads it"
    if key.startswith("evaluate."):
        return "nothing was evaluated"
    return "nothing that this run did came to it"


def _length(recipe: Recipe, figures: Figures) -> Iterator[Unread]:
    if recipe.train.max_steps is not None:
        yield Unread("train.num_train_epochs", "train.max_steps says when the training ends")
    steps = figures.get("steps")
    if steps is None:
        return
    for name, what in (("eval_steps", "evaluation"), ("save_steps", "checkpoint")):
        every = getattr(recipe.train, name)
        if every is not None and every > steps:
            said = f"the training ended at step {steps}, before the first {what} was due"
            yield Unread(f"train.{name}", f"{said}; there was one at its end")
    if recipe.train.logging_steps > steps:
        said = f"the training ended at step {steps}, with its only line of metrics"
        yield Unread("train.logging_steps", said)


def _rows(recipe: Recipe, figures: Figures) -> Iterator[Unread]:  # noqa: ARG001
    if not recipe.data.eval:
        said = "data.eval names no rows, so there was no evaluation during the training"
        yield Unread("train.per_device_eval_batch_size", said)
    if recipe.data.packing and recipe.train.tokens_per_batch is not None:
        said = "packed lines are filled by their lengths already"
        yield Unread("train.group_by_length", said)


def _stopping(recipe: Recipe, figures: Figures) -> Iterator[Unread]:
    patience, last = recipe.train.early_stopping_patience, figures.get("evaluations")
    if patience is not None and last is not None and last <= patience:
        times = "once" if last == 1 else f"{last} times"
        said = f"the loss was evaluated {times} only, too few to be patient for {patience}"
        yield Unread("train.early_stopping_patience", said)


def _layers(recipe: Recipe, figures: Figures) -> Iterator[Unread]:
    layers = figures.get("layers") or ()
    if len(layers) != 1:
        return
    said = f"all that {recipe.tune.name} trains here stands in one layer"
    for key in (
        "layer_rate_decay",
        "unfreeze_every",
        "unfreeze_every.epochs",
        "unfreeze_every.steps",
    ):
        yield Unread(f"train.{key}", said)


RULES: tuple[Callable[[Recipe, Figures], Iterator[Unread]], ...] = (
    _length,
    _rows,
    _stopping,
    _layers,
)
