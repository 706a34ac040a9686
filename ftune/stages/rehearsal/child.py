"""The process that measures the longest batch, begins the miniature training and is killed in it.

A process of its own, so that its peak of memory is that of a training and of nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ftune.errors import FtuneError
from ftune.recipe.reading import load_recipe
from ftune.recipe.schema import Recipe
from ftune.recipe.view import View
from ftune.run import atomic
from ftune.run.directory import RunDirectory
from ftune.run.progress import Meter, Silent
from ftune.run.signals import StopFlag
from ftune.run.stage import Context, Place, Surroundings
from ftune.stages import choosing, tasks
from ftune.stages.rehearsal.miniature import DIES_AT

SAMPLE = 3  # steps of the real plan whose time is taken


@dataclass(frozen=True)
class Order:
    """What the process is to do; all paths as the parent has them."""

    recipe: str
    given: tuple[str, ...]  # the user's overrides
    small: tuple[str, ...]  # those of the miniature
    full: str  # the run directory whose format stage holds all rows
    answer: str  # the file that takes what was measured
    allow_remote_code: bool = False


@dataclass(frozen=True)
class Measured:
    """Of the longest micro-batch and a few steps of the real plan; bytes, seconds, tokens."""

    lines: int
    width: int
    steps: int  # of the whole training
    tokens: int  # of the whole training, without padding
    seconds_per_token: float
    peak_memory_bytes: int
    checkpoint_bytes: int
    device: str


@dataclass(frozen=True)
class _Few:
    """A plan of given steps."""

    chosen: Sequence[Any]

    def counts(self, epochs: float, max_steps: int | None = None) -> tuple[int, ...]:  # noqa: ARG002
        """All of them in one epoch."""
        return (len(self.chosen),)

    def epoch(self, number: int) -> Sequence[Any]:  # noqa: ARG002
        """The steps."""
        return self.chosen


def measure(order: Order) -> Measured:
    """Trains the longest micro-batch and a few usual steps, through the real loop."""
    from ftune.stages.models import fresh
    from ftune.stages.train import TRAIN, job_of
    from ftune.train import memory
    from ftune.train.loop import train

    loaded = load_recipe(order.recipe, order.given)
    recipe = _quiet(loaded.recipe)
    view = View(recipe, "", TRAIN.reads, set())
    place = Place(loaded.path.parent, order.allow_remote_code)
    run = RunDirectory(Path(order.full))
    around = Surroundings(run, place, Silent(), StopFlag())
    folder = Path(order.answer).with_suffix("")
    folder.mkdir(parents=True)
    tuned = fresh(view, order.allow_remote_code, tasks.told_in(run.stage("format")))
    tuned = choosing.take(view, tuned, run.stage("load"))
    job = job_of(Context(folder, view, "", around), tuned)
    longest, width = _longest(job.plan)
    chosen = [longest, *job.plan.epoch(0)[:SAMPLE]]
    train(replace(job, plan=_Few(chosen), eval_batches=()))
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    seconds = lines[-1]["seconds"] - lines[0]["seconds"]
    steps, tokens = _whole(job.plan, loaded.recipe)
    size = sum(f.stat().st_size for f in (folder / "checkpoints").rglob("*") if f.is_file())
    device = next(p.device for p in tuned.model.parameters() if p.requires_grad)
    return Measured(
        lines=len(longest.micros[0][0].lines),
        width=width,
        steps=steps,
        tokens=tokens,
        seconds_per_token=seconds / (lines[-1]["tokens"] - lines[0]["tokens"]),
        peak_memory_bytes=memory.peak(device),
        checkpoint_bytes=size,
        device=str(device),
    )


def _quiet(recipe: Recipe) -> Recipe:
    """The recipe without anything between its steps, each of which has a line."""
    changes = {
        "logging_steps": 1,
        "save_steps": None,
        "eval_steps": None,
        "load_best_model_at_end": False,
        "early_stopping_patience": None,
        "unfreeze_every": None,  # what the last steps need, with all layers
        "report_to": (),
    }
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})


def _longest(plan: Any) -> tuple[Any, int]:
    """A step of the largest micro-batch of the first epoch, padding included, and its width."""
    from ftune.data.steps import Step

    best, size, width = None, -1, 0
    for step in plan.epoch(0):
        for micro in step.micros[0]:
            wide = max(int(plan.lengths[list(line)].sum()) for line in micro.lines)
            if wide * len(micro.lines) > size:
                best, size, width = micro, wide * len(micro.lines), wide
    assert best is not None
    rows = [row for line in best.lines for row in line]
    targets, tokens = int(plan.targets[rows].sum()), int(plan.lengths[rows].sum())
    return Step(micros=((best,),), rows=len(rows), targets=targets, tokens=tokens), width


def _whole(plan: Any, recipe: Recipe) -> tuple[int, int]:
    """Steps and tokens of the whole training; of a part of an epoch, its share."""
    counts = plan.counts(recipe.train.num_train_epochs, recipe.train.max_steps)
    epochs = sum(counts) / max(1, len(plan.epoch(0)))
    return sum(counts), round(epochs * plan.tokens(0))


class Dying(Silent):
    """Kills its own process in the middle of a step, when an earlier one has been saved."""

    @contextmanager
    def meter(self, title: str, total: int | None, unit: str) -> Iterator[Meter]:  # noqa: ARG002
        """A meter that ends the process as nothing else does."""
        yield _Fuse(title)


class _Fuse:
    def __init__(self, title: str) -> None:
        self._title = title

    def update(self, done: int, **figures: str) -> None:  # noqa: ARG002
        """Burns down."""
        if (self._title, done) == ("train", DIES_AT):
            os.kill(os.getpid(), signal.SIGKILL)


def main(path: Path) -> int:
    """Does what the order in ``path`` says; ends by SIGKILL if all goes well."""
    from ftune.stages.whole import Wish, train_recipe

    order = Order(**json.loads(path.read_text(encoding="utf-8")))
    try:
        atomic.write_json(Path(order.answer), asdict(measure(order)))
        small = load_recipe(order.recipe, order.small)
        train_recipe(small, Wish(allow_remote_code=order.allow_remote_code), Dying())
    except FtuneError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
