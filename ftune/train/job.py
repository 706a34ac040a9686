"""What the loop is handed and what it gives back: plain values and callables, no recipe, no files.

A stage builds the ``Job``; the loop knows neither where rows come from nor how a model is tuned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ftune.recipe.distributed import Fsdp
from ftune.recipe.schema import Train
from ftune.run.progress import Progress, Silent
from ftune.run.signals import StopFlag
from ftune.train.hooks import Hooks
from ftune.train.layerwise import LayerGroup
from ftune.types import Batch, LossSum

# What names the rows of a micro-batch: a dataclass whose ``lines`` are its examples; only the
# job's own ``collate`` looks further inside.
Micro = Any


class Step(Protocol):
    """One optimizer step over all processes; ``ftune.data.steps.Step`` is one."""

    @property
    def micros(self) -> Sequence[Sequence[Micro]]:
        """By process, equally many for each."""

    @property
    def targets(self) -> int:
        """Trained tokens of all micro-batches of all processes; the loss is divided by it."""

    @property
    def tokens(self) -> int:
        """Tokens without padding."""

    @property
    def rows(self) -> int:
        """Rows, each counted once."""


class Plan(Protocol):
    """The order of training; ``ftune.data.batching.Plan`` is one."""

    def counts(self, epochs: float, max_steps: int | None = None) -> tuple[int, ...]:
        """Steps of each epoch."""

    def epoch(self, number: int) -> Sequence[Step]:
        """The steps of an epoch, counted from 0; the same ones at each call."""


class Unread(Protocol):
    """Weights that are still in files; ``ftune.model.standins.StandIns`` is one."""

    def fill(self, module: Any) -> None:
        """Reads those of a module's parameters that still wait for it."""


class Objective(Protocol):
    """A module of ``train/objectives``."""

    def loss(self, model: Any, batch: Batch, config: Any) -> LossSum:
        """The loss of a batch as a sum and a count."""


@dataclass(frozen=True)
class Job:
    """A training, ready to run.

    ``collate(micro)`` and ``eval_collate(micro)`` give the batch of a micro-batch on the CPU.
    ``settings`` is the recipe's train section, or a View of it. ``folder`` is the stage's own: the
    loop writes ``metrics.jsonl`` and ``checkpoints/`` there. ``identity`` is what a checkpoint must
    have been made with to be gone on from; the loop adds its own part (processes, steps,
    parameters). ``hooks`` are what the tuning method wants of the loop. ``layers`` are there where
    the settings go layer by layer, the top one first. ``describe(row)`` says where a row of the
    tokens file comes from. ``unread`` are weights that are read while the model is split,
    ``why_whole`` says why they were read before; ``keep(gather)`` writes the trained model while it
    still is, in all processes alike. The model stands on its device already, and is given back as
    it came, with other weights; of one that was ``unread``, only those that were trained and are
    not written yet.
    """

    model: Any
    objective: Objective
    objective_config: Any
    settings: Train
    plan: Plan
    collate: Callable[[Micro], Batch]
    folder: Path
    eval_batches: Sequence[Micro] = ()
    eval_collate: Callable[[Micro], Batch] | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)
    mixed_precision: str = "no"
    fsdp: Fsdp | None = None
    deepspeed: Mapping[str, Any] | None = None  # as it is handed to DeepSpeed
    unread: Unread | None = None
    why_whole: str = ""
    keep: Callable[[Callable[[Mapping[str, Any]], Mapping[str, Any]]], None] | None = None
    hooks: Hooks = field(default_factory=Hooks)
    layers: Sequence[LayerGroup] = ()
    progress: Progress = field(default_factory=Silent)
    stop: StopFlag = field(default_factory=StopFlag)
    describe: Callable[[int], str] = "row {}".format
    name: str = "ftune"  # of the run, for trackers


@dataclass(frozen=True)
class Outcome:
    """What a training came to; losses are means over trained tokens."""

    steps: int
    epochs: float
    loss: float  # of the whole training
    final_loss: float  # of the last line of metrics.jsonl
    eval_loss: float | None  # the last one
    best_step: int | None  # with the lowest evaluation loss
    best_loss: float | None
    weights_of_step: int  # the step whose weights the model holds now
    stopped_early: bool
    rows: int  # seen, each as often as it was seen
    tokens: int  # seen, without padding
    trained_tokens: int
    seconds: float  # in steps, over all sittings, evaluations and saves not counted
    tokens_per_second: float
    peak_memory_bytes: int  # of this process, or of its GPU
    resumed_from: int | None  # step of the checkpoint that this sitting went on from
    skipped_steps: int  # not finite, and left out
    spiked_steps: int  # spikes, and left out
    halvings: int  # how often micro-batches were halved, for want of memory
    layers: Sequence[Mapping[str, Any]]  # rates and first steps, where training goes by layer
    fast_paths: Mapping[str, str]  # which were taken, and why one was not
    sharding: Mapping[str, Any] | None = None  # what each process held a share of
    deepspeed: Mapping[str, Any] | None = None  # the same, where DeepSpeed did
