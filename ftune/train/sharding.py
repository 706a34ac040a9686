"""Parameters, gradients and optimizer state split over the processes, by torch's ``fully_shard``.

Each process holds a share of every parameter as a DTensor; a layer's parameters are gathered for
the time that it computes. Zhao et al. 2023, https://arxiv.org/abs/2304.11277; the stages are those
of Rajbhandari et al. 2020 (ZeRO), https://arxiv.org/abs/1910.02054.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ftune.errors import FtuneError, ModelError, RecipeError
from ftune.train import gathering
from ftune.train.gathering import is_split
from ftune.train.job import Job

KEY = "distributed.fsdp"


@dataclass
class Sharding:
    """A model that is split; ``groups``: how many parts of it are gathered one at a time."""

    model: torch.nn.Module
    processes: int
    groups: int
    layer_classes: tuple[str, ...]
    why_whole: str | None = None  # why each process read the whole model, if it did
    gradients: int = 0  # of the last step, those that were DTensors
    kept: bool = False  # whether the trained weights are written already

    def squares(self, trained: Sequence[torch.Tensor]) -> float:
        """Sum of squares of this process's share of the gradient."""
        gradients = [p.grad for p in trained if p.grad is not None]
        self.gradients = sum(map(is_split, gradients))
        own = _own(gradients)
        if not own:
            return 0.0
        norms = torch.stack([norm.double() for norm in torch._foreach_norm(own)])
        return float(norms.square().sum())

    def scale(self, trained: Sequence[torch.Tensor], factor: float) -> None:
        """Multiplies this process's share of the gradient."""
        if factor < 1.0:
            for gradient in _own([p.grad for p in trained if p.grad is not None]):
                gradient.mul_(factor)

    def rest(self) -> None:
        """Gives gathered parameters back, as a backward pass does: after a pass without one."""
        for module in self.model.modules():
            give_back = getattr(module, "reshard", None)
            if give_back is not None:
                give_back()

    def keep(self, job: Job) -> None:
        """Has the trained weights written while they are split, where that can be."""
        import torch.distributed as dist

        if job.keep is not None:
            self.rest()
            job.keep(partial(gathering.whole, keep=dist.get_rank() == 0))
            self.kept = True

    def told(self, optimizer: torch.optim.Optimizer, peak: int) -> dict[str, Any]:
        """What is split at this moment, counted, and bytes of all of it and of each share.

        ``peak``: the most memory that this process had. All processes must call it alike.
        """
        import torch.distributed as dist

        parameters = list(self.model.parameters())
        trained = [p for p in parameters if p.requires_grad]
        state = [t for each in optimizer.state.values() for t in each.values() if _counts(t)]
        own = (sum(_bytes(p, True) for p in parameters), sum(_bytes(t, True) for t in state), peak)
        every: list[Any] = [None] * self.processes
        dist.all_gather_object(every, own)
        return {
            "processes": self.processes,
            "groups": self.groups,
            "layer_classes": list(self.layer_classes),
            "read_in_shares": self.why_whole is None,
            "why_whole": self.why_whole,
            "written_in_shares": self.kept,
            "parameters": len(parameters),
            "parameters_split": sum(map(is_split, parameters)),
            "trained": len(trained),
            "gradients_split": self.gradients,
            "optimizer_tensors": len(state),
            "optimizer_tensors_split": sum(map(is_split, state)),
            "parameter_bytes": sum(_bytes(p, False) for p in parameters),
            "parameter_bytes_of_each": [each[0] for each in every],
            "optimizer_bytes": sum(_bytes(t, False) for t in state),
            "optimizer_bytes_of_each": [each[1] for each in every],
            "peak_memory_bytes_of_each": [each[2] for each in every],
        }


def _own(gradients: Sequence[Any]) -> list[torch.Tensor]:
    return [g.to_local() for g in gradients if is_split(g)]


def _counts(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 0


def _bytes(tensor: Any, here: bool) -> int:
    own = tensor.to_local() if here and is_split(tensor) else tensor
    return int(own.numel() * own.element_size())


@contextmanager
def split(job: Job, device: torch.device) -> Iterator[Sharding | None]:
    """The job's model, split while inside if the recipe asks for it.

    Afterwards it is whole again in the first process, with the weights that it has then, and in
    the others holds no numbers. What was read only to be split and is not trained has none in the
    first one either. After an error it is left as it is: others may be gone.

    Raises:
        RecipeError: the model has no such layers, or can't be split this way.
        ModelError: weights that are read now can't be, or are not finite.
        RunError: what was gathered is not what the processes hold.
    """
    if job.fsdp is None:
        yield None
        return
    with group(device):
        before = gathering.Before.of(job.model)
        made = _split(job, device)
        if made.processes == 1 and not job.fsdp.cpu_offload:
            job.progress.warn(
                f"{KEY}: one process holds every share, which saves no memory; start several with "
                "--processes N"
            )
        yield made
        made.rest()
        if job.unread is None:
            gathering.gather(job.model, before, device)
        else:
            wanted = (p for p in job.model.parameters() if p.requires_grad and not made.kept)
            gathering.gather(job.model, before, device, only=frozenset(map(id, wanted)))


@contextmanager
def group(device: torch.device) -> Iterator[None]:
    """Processes that can talk: those that were started together, or this one with itself."""
    import torch.distributed as dist

    if dist.is_initialized():
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _split(job: Job, device: torch.device) -> Sharding:
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model, settings = job.model, job.fsdp
    assert settings is not None
    if job.hooks.after_step or job.hooks.penalty:
        raise RecipeError(
            f"{KEY}: this tuning method works on whole tensors between the steps, of which a "
            "process has a share only; write tune.method: lora, or remove the key"
        )
    if settings.cpu_offload and device.type == "cpu":
        raise RecipeError(
            f"{KEY}.cpu_offload: the model is on the CPU already, where there is nothing to "
            "offload; remove it, or train on a GPU"
        )
    classes = layer_classes(model, settings.transformer_layer_cls_to_wrap)
    layers = [m for m in model.modules() if type(m).__name__ in classes]
    _check_shared(model, layers)
    options = _options(settings, init_device_mesh(device.type, (dist.get_world_size(),)))
    wrong = ""
    try:
        for layer in reversed(layers):  # inner ones first
            if not (wrong := wrong or _read(job, layer)):
                fully_shard(layer, **options)
        # The rest, which the backward pass begins with, stays gathered until then.
        if not (wrong := wrong or _read(job, model)):
            fully_shard(model, **{**options, "reshard_after_forward": False})
    except (ValueError, NotImplementedError, AssertionError) as error:
        line = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{KEY}: {type(model).__name__} can't be split ({line}); remove the key"
        ) from error
    if job.unread is not None:
        _agree_on(wrong, model)
    why = None if job.unread is not None else job.why_whole
    return Sharding(model, dist.get_world_size(), len(layers) + 1, classes, why)


def _read(job: Job, module: torch.nn.Module) -> str:
    """Reads what of a module is not read yet; what is wrong with it, if something is."""
    try:
        if job.unread is not None:
            job.unread.fill(module)
    except FtuneError as error:
        return str(error)
    return ""


def _agree_on(wrong: str, model: torch.nn.Module) -> None:
    """Raises ModelError in all processes if one could not read, or read what is no number."""
    import torch.distributed as dist

    every = [""] * dist.get_world_size()
    dist.all_gather_object(every, wrong)
    if told := next(filter(None, every), None):
        raise ModelError(told)
    if bad := gathering.not_finite(dict(model.named_parameters())):
        raise ModelError(f"the model's files: tensor {bad[0]} holds NaN or infinity")


def _options(settings: Any, mesh: Any) -> dict[str, Any]:
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy

    kinds = {None: None, "float32": torch.float32, "bfloat16": torch.bfloat16}
    return {
        "mesh": mesh,
        "reshard_after_forward": settings.reshard_after_forward,
        "mp_policy": MixedPrecisionPolicy(
            param_dtype=kinds[settings.param_dtype], reduce_dtype=kinds[settings.reduce_dtype]
        ),
        "offload_policy": CPUOffloadPolicy() if settings.cpu_offload else OffloadPolicy(),
    }


def layer_classes(model: torch.nn.Module, wanted: Sequence[str]) -> tuple[str, ...]:
    """Names of the classes whose modules are gathered one at a time.

    Raises:
        RecipeError: the model has no module of such a class.
    """
    there = sorted({type(m).__name__ for m in model.modules() if any(True for _ in m.parameters())})
    missing = [name for name in wanted if name not in there]
    if missing:
        raise RecipeError(
            f"{KEY}.transformer_layer_cls_to_wrap: {type(model).__name__} has no {missing[0]}; "
            f"it has {', '.join(there)}"
        )
    if wanted:
        return tuple(wanted)
    own: set[str] = set()
    for module in model.modules():
        own |= set(getattr(module, "_no_split_modules", None) or ())
    found = tuple(sorted(own & set(there)))
    if not found:
        raise RecipeError(
            f"{KEY}: transformers names no layers of {type(model).__name__}; name their class in "
            f"{KEY}.transformer_layer_cls_to_wrap: one of {', '.join(there)}"
        )
    return found


def _check_shared(model: torch.nn.Module, layers: Sequence[torch.nn.Module]) -> None:
    """Refuses a parameter that is used in two layers, or in one and outside (tied weights)."""
    owner: dict[int, int] = {}
    names = {id(m): name for name, m in model.named_modules()}
    starts = sorted((f"{names[id(m)]}." for m in layers), key=len, reverse=True)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        at = next((number for number, start in enumerate(starts) if name.startswith(start)), -1)
        if owner.setdefault(id(parameter), at) != at:
            raise RecipeError(
                f"{KEY}.transformer_layer_cls_to_wrap: {name} is the same tensor as one outside "
                "of its layer (tied weights), and both have to be gathered together; leave its "
                "class out"
            )
