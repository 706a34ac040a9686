"""Several processes, as ``accelerate launch`` or ``torchrun`` starts them, training one recipe.

The first one does everything as if it were alone; the others wait until it trains, train with it,
and end. Only the first one chooses, locks and writes the run directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from ftune import environment
from ftune.errors import RunError
from ftune.recipe.reading import Loaded
from ftune.recipe.schema import Recipe
from ftune.recipe.view import View
from ftune.run.directory import RunDirectory
from ftune.run.progress import Silent
from ftune.run.signals import stop_flag
from ftune.run.stage import Context, Place, Surroundings
from ftune.stages import tasks

WAIT = timedelta(days=30)  # for rows to be formatted; who dies meanwhile is noticed at once


class Group:
    """The processes that train together, and what the first one tells the others: once."""

    def __init__(self, recipe: Recipe) -> None:
        """Waits until all of them are there.

        Raises:
            RunError: accelerate does not join them, and each would train on its own.
        """
        import torch
        import torch.distributed as dist
        from accelerate import PartialState

        # Told nothing, it makes no group on a machine without GPU, and says nothing either.
        cpu = recipe.model.device == "cpu" or not torch.cuda.is_available()
        joined = PartialState(cpu=cpu).num_processes
        started = environment.processes()[1]
        if joined != started:
            raise RunError(
                f"{started} processes were started, but accelerate joins {joined} of them on this "
                "device; start ftune without a launcher"
            )
        self._dist = dist
        # Messages have a group of their own: its patience must not be that of the training.
        self._wire = dist.new_group(backend="gloo", timeout=WAIT)
        self._told = False

    def tell(self, value: dict[str, str] | None) -> None:
        """Tells the others which training to join; None if there is none. Later calls do nothing.

        Raises:
            RunError: another process has ended.
        """
        if not self._told:
            self._told = True
            self._broadcast(value)

    def hear(self) -> Any:
        """What the first process tells; waits for it."""
        return self._broadcast(None)

    def _broadcast(self, value: Any) -> Any:
        box = [value]
        try:
            self._dist.broadcast_object_list(box, src=0, group=self._wire)
        except RuntimeError as error:
            raise RunError(
                "another process of this training has ended; its own message says why "
                f"({str(error).partition(chr(10))[0]})"
            ) from error
        return box[0]

    def leave(self) -> None:
        """Ends the group, for this process."""
        self._dist.destroy_process_group()


def join(recipe: Recipe) -> Group | None:
    """The group that this process was started in; None for a process on its own."""
    return Group(recipe) if environment.processes()[1] > 1 else None


@contextmanager
def ending(group: Group | None) -> Iterator[None]:
    """Lets the others go when the first process is done, whatever became of it."""
    try:
        yield
    finally:
        if group is not None:
            with suppress(RunError):  # who has ended already needs no word
                group.tell(None)
            group.leave()


def follow(loaded: Loaded, allow_remote_code: bool) -> None:
    """What all but the first process do: wait, train along, write nothing.

    Raises:
        RunError: the training failed.
        Interrupted: it was asked to stop, and the first process has saved it.
    """
    from ftune.stages.models import fresh
    from ftune.stages.train import TRAIN, job_of
    from ftune.train.loop import train

    group = Group(loaded.recipe)
    with stop_flag(loaded.recipe.train.grace_seconds) as stop:
        told = group.hear()
        if told is not None:
            place = Place(loaded.path.parent, allow_remote_code)
            run = RunDirectory(Path(told["run"]))
            view = View(loaded.recipe, "", TRAIN.reads, set())
            around = Surroundings(run, place, Silent(), stop)
            context = Context(run.stage("train"), view, told["fingerprint"], around)
            task = tasks.told_in(run.stage("format"))
            train(job_of(context, fresh(view, allow_remote_code, task)))
    group.leave()
