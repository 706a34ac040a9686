"""Several processes, as ``--processes`` or ``torchrun`` starts them, training one recipe.

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
from ftune.errors import PeerLostError, RunError
from ftune.recipe.reading import Loaded
from ftune.recipe.schema import Recipe
from ftune.recipe.view import View
from ftune.run.directory import RunDirectory
from ftune.run.progress import Silent
from ftune.run.signals import stop_flag
from ftune.run.stage import Context, Place, Surroundings
from ftune.stages import choosing, meeting, shares, tasks

WAIT = timedelta(days=30)  # for rows to be formatted; who dies meanwhile is noticed at once
MEETING = timedelta(minutes=30)  # until all have loaded the model
# What torch says of a connection that is gone: its types, and gloo's words in plain RuntimeErrors.
WIRE_ERRORS = ("DistBackendError", "DistNetworkError", "DistStoreError")
WIRE_WORDS = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")


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
        local = environment.local_processes()
        if not cpu and local > torch.cuda.device_count():
            raise RunError(
                f"{local} processes were started on this machine, which has "
                f"{torch.cuda.device_count()} GPUs; start one for each, or set model.device: cpu"
            )
        patience = timedelta(seconds=recipe.distributed.timeout_seconds)
        with noticing():
            joined = PartialState(cpu=cpu, timeout=patience).num_processes
        started = environment.processes()[1]
        if joined != started:
            raise RunError(
                f"{started} processes were started, but accelerate joins {joined} of them on this "
                "device; start ftune without a launcher"
            )
        self._dist = dist
        self._patience = max(patience, MEETING)
        # Messages have a group of their own: its patience must not be that of the training.
        with noticing():
            self._wire = dist.new_group(backend="gloo", timeout=WAIT)
        self._told = False
        try:
            meeting.same_place(recipe, self._share, environment.processes()[0] == 0)
        except RunError:
            self.leave()
            raise

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

    def meet(self) -> None:
        """Waits until all have loaded the model: from here on none may be late.

        Raises:
            PeerLostError: another process has ended, or hangs.
        """
        with noticing():
            self._dist.monitored_barrier(self._wire, timeout=self._patience)

    def part(self) -> None:
        """Waits, with several hosts, until all are done: a host that ends takes its store along.

        torchrun's agents of the others would end what is still at work, such as an evaluation. The
        first one, which comes last, waits no longer than in training.

        Raises:
            PeerLostError: another process has ended, or hangs.
        """
        rank, count = environment.processes()
        if environment.local_processes() < count:
            with noticing():
                patience = WAIT if rank else self._patience
                self._dist.monitored_barrier(self._wire, timeout=patience)

    def _share(self, value: Any) -> list[Any]:
        """What each process says, in their order."""
        box: list[Any] = [None] * self._dist.get_world_size()
        with noticing():
            self._dist.all_gather_object(box, value, group=self._wire)
        return box

    def _broadcast(self, value: Any) -> Any:
        box = [value]
        with noticing():
            self._dist.broadcast_object_list(box, src=0, group=self._wire)
        return box[0]

    def leave(self) -> None:
        """Ends the group, for this process."""
        self._dist.destroy_process_group()


@contextmanager
def noticing() -> Iterator[None]:
    """Tells what it means when a process no longer hears another.

    Raises:
        PeerLostError: instead of what torch raised then.
    """
    try:
        yield
    except RuntimeError as error:
        line = str(error).strip().partition("\n")[0]
        of_the_wire = type(error).__name__ in WIRE_ERRORS or any(w in line for w in WIRE_WORDS)
        if not of_the_wire:
            raise
        raise PeerLostError(
            "another process of this training has ended, or did not answer for "
            f"distributed.timeout_seconds; its own message says why ({line[:200]})"
        ) from error


def join(recipe: Recipe) -> Group | None:
    """The group that this process was started in; None for a process on its own."""
    return Group(recipe) if environment.processes()[1] > 1 else None


@contextmanager
def ending(group: Group | None) -> Iterator[None]:
    """Lets the others go when the first process is done, whatever became of it."""
    if group is None:
        yield
        return
    try:
        yield
        with suppress(PeerLostError):
            group.part()
    finally:
        with suppress(PeerLostError):  # who has ended already needs no word
            group.tell(None)
        group.leave()


def follow(loaded: Loaded, allow_remote_code: bool) -> None:
    """What all but the first process do: wait, train along, write nothing.

    Raises:
        RunError: the training failed.
        Interrupted: it was asked to stop, and the first process has saved it.
    """
    group = Group(loaded.recipe)
    _train_along(group, loaded, allow_remote_code)
    group.part()
    group.leave()


def _train_along(group: Group, loaded: Loaded, allow_remote_code: bool) -> None:
    """Takes the first process's word for it, and trains with it; forgets the model afterwards."""
    from ftune.stages.train import TRAIN, job_of
    from ftune.train.loop import train

    with stop_flag(loaded.recipe.train.grace_seconds) as stop:
        told = group.hear()
        if told is not None:
            place = Place(loaded.path.parent, allow_remote_code)
            run = RunDirectory(Path(told["run"]))
            view = View(loaded.recipe, "", TRAIN.reads, set())
            around = Surroundings(run, place, Silent(), stop)
            context = Context(run.stage("train"), view, told["fingerprint"], around)
            task = tasks.told_in(run.stage("format"))
            fresh = shares.fresh(view, allow_remote_code, task)
            tuned = choosing.take(view, fresh, run.stage("load"))
            job = job_of(context, tuned, int(told["processes"]))
            group.meet()
            with noticing():
                train(job)
