"""Training with DeepSpeed's ZeRO under the loop, which keeps schedule, accumulation and clipping.

DeepSpeed splits, adds up over the processes and updates; when, and whether at all, the loop says.
The stages are those of Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054.
"""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch

from ftune import environment
from ftune.errors import ModelError, RecipeError, RunError
from ftune.recipe.deepspeed import KEY, stage
from ftune.train import zero_state
from ftune.train.gathering import Before
from ftune.train.job import Job
from ftune.train.sharding import group


class Zero:
    """DeepSpeed's engine around a model; speaks as the loop's optimizer does.

    ``trained`` are the trained parameters by name, ``groups`` the optimizer's groups of them as
    they were before DeepSpeed put its own tensors there.
    """

    def __init__(self, engine: Any, optimizer: torch.optim.Optimizer, number: int) -> None:
        self.engine, self.optimizer, self.stage = engine, optimizer, number
        self.trained: dict[str, Any] = {}
        self.groups: list[list[Any]] = []
        self._pending = False  # a whole gradient is there, of which nothing was done yet
        self._reduced = 0  # elements of the last gradient that this process held

    @property
    def split(self) -> bool:
        """Whether a process holds a share of the weights only, and none can run alone."""
        return self.stage == 3

    @property
    def sharded(self) -> Any:
        """DeepSpeed's optimizer, which splits."""
        return self.engine.optimizer

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """One micro-batch's gradient; with the ``last`` of a step, that of all processes."""
        self.engine.set_gradient_accumulation_boundary(last)
        self.engine.backward(loss, scale_wrt_gas=False)
        self._pending = self._pending or last

    def norm(self) -> float:
        """The norm of the whole gradient before clipping; infinite where it is not finite."""
        self._reduced = zero_state.gradient_elements(self)
        if self.stage == 0:
            gradients = [p.grad for p in self.trained.values() if p.grad is not None]
            return float(torch.nn.utils.get_total_norm(gradients))
        if self.stage == 3:
            from deepspeed.runtime.utils import combine_grad_norm_groups

            found = float(combine_grad_norm_groups(self.sharded._get_norm_groups()))
        else:
            found = float(self.sharded.scaled_global_norm())
        return found if found >= 0 else math.inf  # DeepSpeed says -1 of what is not finite

    def step(self) -> None:
        """Clips and applies the gradient.

        Raises:
            RunError: DeepSpeed left the step out.
        """
        self.engine.step()
        self._pending = False
        if not self.engine.was_step_applied():
            raise RunError(
                f"{KEY}: DeepSpeed did not apply a step whose gradient was finite; run the same "
                "command again, which goes on from the newest checkpoint"
            )

    def zero_grad(self) -> None:
        """Forgets a gradient that was not applied."""
        if not self._pending:
            return
        self._pending = False
        if self.stage == 0:
            self.engine.zero_grad()
            return
        # It throws away by itself, with all that it keeps between, what is not finite.
        zero_state.spoil(self.sharded)
        self.engine.step()
        if self.engine.was_step_applied():
            raise RunError(f"{KEY}: DeepSpeed applied a step that was to be left out")

    def whole(self, keep: bool) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Trained weights, and the optimizer's state dict, whole and in torch's layout.

        All processes must call it alike; ``keep``: whether this one wants them.

        Raises:
            RunError: what was gathered is not what a process holds.
        """
        return zero_state.weights(self, keep), zero_state.moments(self, keep)

    def load_weights(self, saved: Mapping[str, torch.Tensor]) -> None:
        """Puts whole weights into the shares."""
        zero_state.load_weights(self, saved)

    def load_state_dict(self, whole: dict[str, Any]) -> None:
        """Puts an optimizer's state dict of whole tensors into the shares."""
        zero_state.load_moments(self, whole)

    def not_finite(self) -> list[str]:
        """Names of trained parameters that hold a number that is not finite, in any process."""
        return zero_state.not_finite(self)

    def told(self, peak: int) -> dict[str, Any]:
        """What is split at this moment, counted, and bytes of each process; all must call it."""
        return {"stage": self.stage, **zero_state.told(self, self._reduced, peak)}


@contextmanager
def zeroed(
    job: Job, device: torch.device, optimizer: torch.optim.Optimizer
) -> Iterator[Zero | None]:
    """The job's model under DeepSpeed while inside, if the recipe asks for it.

    Afterwards it is plain again, in stage 3 whole in the first process only. After an error it is
    left as it is: others may be gone.

    Raises:
        ModelError: DeepSpeed can't split this model.
        RecipeError: DeepSpeed isn't there, or the tuning method or its weights' type don't go
            with it.
    """
    if job.deepspeed is None:
        yield None
        return
    deepspeed = _imported(device)
    _check(job)
    # One that was started alone has no number on its machine, which DeepSpeed asks for.
    with group(device), _as_before(), environment.having({"LOCAL_RANK": "0"}):
        before = Before.of(job.model)
        made = _begin(deepspeed, job, optimizer)
        yield made
        zero_state.give_back(made, job.model, before, device)


def _begin(deepspeed: Any, job: Job, optimizer: torch.optim.Optimizer) -> Zero:
    model, config = job.model, dict(job.deepspeed or {})
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    groups = [list(each["params"]) for each in optimizer.param_groups]
    try:
        with redirect_stdout(io.StringIO()):
            engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    except (ValueError, AssertionError, NotImplementedError, AttributeError) as error:
        line = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{KEY}: DeepSpeed does not take {type(model).__name__} with this configuration "
            f"({line or type(error).__name__}); change it, or remove the key"
        ) from error
    made = Zero(engine, optimizer, stage(config))
    made.trained, made.groups = trained, groups
    if engine.dp_world_size == 1:
        job.progress.warn(
            f"{KEY}: one process holds every share, which saves no memory; start several with "
            "--processes N"
        )
    return made


def _imported(device: torch.device) -> Any:
    if device.type == "cpu":
        environment.put({"DS_ACCELERATOR": "cpu"})  # else it takes a GPU that it sees
    try:
        with redirect_stdout(io.StringIO()):
            import deepspeed
    except ImportError as error:
        raise RecipeError(
            f"{KEY}: DeepSpeed is not installed ({error}); pip install 'ftune[deepspeed]'"
        ) from error
    if device.type == "cpu":
        # Else it compiles C++ to add up in shared memory, where gloo adds up as well.
        vars(deepspeed.ops).setdefault("__compatible_ops__", {})
    return deepspeed


def _check(job: Job) -> None:
    if job.hooks.after_step or job.hooks.penalty:
        raise RecipeError(
            f"{KEY}: this tuning method works on whole tensors between the steps, of which a "
            "process has a share only; write tune.method: lora, or remove the key"
        )
    for name, parameter in job.model.named_parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            raise RecipeError(
                f"{KEY}: {name} is trained in {str(parameter.dtype).removeprefix('torch.')}, of "
                "which DeepSpeed would keep a float32 copy that no result shows; write "
                "model.dtype: float32, or remove the key"
            )


@contextmanager
def _as_before() -> Iterator[None]:
    """What DeepSpeed keeps or changes for a whole process is afterwards as it was."""
    from deepspeed.comm import comm
    from deepspeed.runtime.zero import parameter_offload
    from deepspeed.utils import groups, logger

    level, linear = logger.level, torch.nn.functional.linear
    backend, stack = comm.cdb, list(parameter_offload.FWD_MODULE_STACK)
    known = {k: dict(v) if isinstance(v, dict) else v for k, v in vars(groups).items()}
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Of its own calls of torch, once for each.
            warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
        torch.nn.functional.linear = linear
        comm.cdb = backend
        parameter_offload.FWD_MODULE_STACK[:] = stack
        vars(groups).update(known)
