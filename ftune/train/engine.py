"""What a training runs on: accelerate, the model made ready for it, optimizer and schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from ftune.errors import RecipeError
from ftune.fast import compiled
from ftune.fast.quick import quick, untouched
from ftune.recipe.deepspeed import stage
from ftune.train import compiling, isolation, optim
from ftune.train.job import Job
from ftune.train.layerwise import by_layer
from ftune.train.sharding import Sharding, split
from ftune.train.zero import Zero, zeroed


@dataclass(frozen=True)
class Engine:
    """``model`` is what is called in training; ``plain`` is the same without wrappers."""

    accelerator: Any
    model: torch.nn.Module
    plain: torch.nn.Module
    optimizer: Any
    schedule: torch.optim.lr_scheduler.LambdaLR
    device: torch.device
    trained: dict[str, torch.nn.Parameter]  # the trainable parameters by name
    sharding: Sharding | None = None  # where each process holds a share of the model
    zero: Zero | None = None  # where DeepSpeed holds it

    @property
    def processes(self) -> int:
        """How many processes train together."""
        return int(self.accelerator.num_processes)

    @property
    def process(self) -> int:
        """The number of this one."""
        return int(self.accelerator.process_index)

    @property
    def in_step(self) -> bool:
        """Whether no process can go through the model alone."""
        return self.sharding is not None or (self.zero is not None and self.zero.split)

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """The gradient of a micro-batch, the ``last`` of its step in this process or not."""
        if self.zero is not None:
            self.zero.backward(loss, last)
        else:
            self.accelerator.backward(loss)

    def contents(self, keep: bool) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
        """Trained weights and the optimizer's state dict; what DeepSpeed splits is put together,
        where ``keep`` says that this process wants it. All must call it alike."""
        if self.zero is not None:
            return self.zero.whole(keep)
        return self.trained, self.optimizer.optimizer.state_dict()

    def total(self, number: float) -> float:
        """The sum of a number over all processes."""
        if self.processes == 1:
            return number
        wide = torch.float32 if self.device.type == "mps" else torch.float64
        tensor = torch.tensor(number, dtype=wide, device=self.device)
        return float(self.accelerator.reduce(tensor, reduction="sum").item())


@contextmanager
def ready(job: Job, total: int) -> Iterator[Engine]:
    """The engine for a training of ``total`` steps; afterwards the model is as it came.

    Raises:
        ModelError: nothing is trainable, or packed rows would see each other.
        RecipeError: precision, optimizer or checkpointing can't be had with this model or device.
    """
    settings, model = job.settings, job.model
    was_training = model.training
    device = next((p.device for p in model.parameters() if p.requires_grad), torch.device("cpu"))
    if settings.torch_compile:
        compiling.check(model, device)
    if job.hooks.begin:
        job.hooks.begin(total)
    isolation.check(job)
    if settings.gradient_checkpointing:
        _checkpoint_activations(model)
    accelerator = _accelerator(job, device)
    with ExitStack() as stack:
        if job.fsdp is not None or job.deepspeed is not None:
            # What is tried is tried on whole weights. Of ZeRO's stage 3 each module sees its own
            # only, and fast paths reach into others.
            path = untouched if stage(job.deepspeed or {}) == 3 else quick
            stack.enter_context(path(model))
        sharding = stack.enter_context(split(job, device))
        optimizer, schedule = _optimizer(job, total)
        # What is split adds up its gradients itself.
        by_itself = job.fsdp is not None or job.deepspeed is not None
        prepared = accelerator.prepare_model(
            model, device_placement=False, evaluation_mode=by_itself
        )
        zero = stack.enter_context(zeroed(job, device, optimizer))
        stepper = accelerator.prepare_optimizer(optimizer, device_placement=False)
        engine = Engine(
            accelerator=accelerator,
            model=prepared if zero is None else zero.engine,
            plain=model,
            optimizer=zero or stepper,
            schedule=schedule,
            device=device,
            trained={n: p for n, p in model.named_parameters() if p.requires_grad},
            sharding=sharding,
            zero=zero,
        )
        try:
            settled = compiled.settled() if settings.torch_compile else nullcontext()
            with settled, quick(model, settings.torch_compile):
                if settings.torch_compile:
                    compiling.warm(job, device)
                yield engine
        finally:
            for tracker in accelerator.trackers:
                tracker.finish()
            # What mixed precision put over the class's own. accelerate's way to take it off would
            # import DeepSpeed wherever that is installed.
            model.__dict__.pop("_original_forward", None)
            model.__dict__.pop("forward", None)
            if settings.gradient_checkpointing:
                _activation_checkpointing(model, "disable")()
                model.disable_input_require_grads()
            optimizer.zero_grad(set_to_none=True)
            model.train(was_training)


def _optimizer(job: Job, total: int) -> tuple[torch.optim.Optimizer, Any]:
    """The optimizer over the trainable parameters, and its schedule of ``total`` steps."""
    settings, model = job.settings, job.model
    groups = job.hooks.groups() if job.hooks.groups else None
    if job.layers and settings.layer_rate_decay is not None:
        groups = groups or optim.parameter_groups(model, settings.weight_decay)
        groups = by_layer(model, groups, job.layers, settings)
    optimizer = optim.build_optimizer(model, settings, job.progress, groups)
    return optimizer, optim.build_schedule(optimizer, settings, total)


def _accelerator(job: Job, device: torch.device) -> Any:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState

    # Its state is shared by all of a process: what another training left there must not reach us.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    GradientState._reset_state()
    wanted = job.mixed_precision
    refused = RecipeError(
        f"distributed.mixed_precision: {wanted} can't be had on {device.type}; use no"
    )
    if wanted == "fp16" and device.type == "cpu":  # accelerate would silently use 32 bits
        raise refused
    try:
        accelerator = Accelerator(
            mixed_precision=wanted,
            cpu=device.type == "cpu",
            log_with=list(job.settings.report_to) or None,
            project_dir=str(job.folder),
        )
    except ValueError as error:
        raise refused from error
    # The loop divides by itself; a launcher's environment must not make accelerate do it again.
    accelerator.gradient_accumulation_steps = 1
    return accelerator


def _checkpoint_activations(model: Any) -> None:
    try:
        # It also makes the embeddings' output require a gradient, which adapters need.
        _activation_checkpointing(model, "enable")({"use_reentrant": False})
    except (ValueError, AttributeError) as error:
        raise RecipeError(
            f"train.gradient_checkpointing: this model has none ({error}); set it to false"
        ) from error


def _activation_checkpointing(model: Any, verb: str) -> Any:
    """The method of transformers that switches it, by its newer name where there is one."""
    newer = getattr(model, f"activation_checkpointing_{verb}", None)
    return newer or getattr(model, f"gradient_checkpointing_{verb}")
