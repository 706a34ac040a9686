"""Split tensors put together again, and whole ones split: for checkpoints, results and resuming."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ftune.errors import RunError


def is_split(tensor: Any) -> bool:
    """Whether it is a DTensor, of which this process holds a share."""
    if not hasattr(tensor, "full_tensor"):
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def whole(tensors: Mapping[str, torch.Tensor], keep: bool) -> dict[str, torch.Tensor]:
    """The tensors, those that are split put together; all processes must call it alike.

    ``keep``: whether this process wants them; else only those are there that are not split. One is
    gathered at a time, and stands on the CPU then.

    Raises:
        RunError: in some process, what was gathered differs from what that process holds.
    """
    found: dict[str, torch.Tensor] = {}
    wrong = []
    for name, tensor in tensors.items():
        if not is_split(tensor):
            found[name] = tensor
            continue
        put_together, right = full(tensor)
        if not right:
            wrong.append(name)
        if keep:
            found[name] = put_together.cpu()
    agree(wrong)
    return found


def not_finite(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of those that hold a number that is not finite, in whichever process."""
    import torch.distributed as dist

    split = any(map(is_split, tensors.values()))
    own: dict[str, Any] = {n: t.to_local() if is_split(t) else t for n, t in tensors.items()}  # type: ignore[attr-defined]
    bad = [name for name, tensor in own.items() if not bool(torch.isfinite(tensor).all())]
    if not split:
        return bad
    every: list[list[str]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(every, bad)
    return [name for name in own if any(name in each for each in every)]


def full(tensor: Any) -> tuple[torch.Tensor, bool]:
    """All of a split tensor, and whether this process's share stands in it where it belongs."""
    tensor = tensor.detach()
    own = tensor.to_local()
    kind = tensor.device_mesh.device_type
    full = (tensor if own.device.type == kind else tensor.to(kind)).full_tensor()
    start = sum(_share_sizes(tensor)[: tensor.device_mesh.get_local_rank()])
    part = full[start : start + own.shape[0]].to(own.device)
    right = full.shape == tensor.shape and torch.equal(bits(part), bits(own))
    return full, right


def _share_sizes(tensor: Any) -> list[int]:
    """Lines of each process: as many for each as torch.chunk gives."""
    processes, lines = tensor.device_mesh.size(), tensor.shape[0]
    each = -(-lines // processes)
    return [max(0, min(each, lines - at * each)) for at in range(processes)]


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """Its bytes: numbers that are no numbers are equal to themselves here."""
    return tensor.contiguous().view(torch.uint8)


def agree(wrong: list[str]) -> None:
    """Raises RunError in all processes if in one of them these tensors were gathered wrong."""
    import torch.distributed as dist

    if not dist.is_initialized():
        return
    every: list[list[str]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(every, wrong)
    names = sorted({name for each in every for name in each})
    if names:
        raise RunError(
            f"{names[0]} ({len(names)} tensors): put together from the processes it is not what "
            "they hold, so nothing of it is written; run the same command again, which goes on "
            "from the newest checkpoint"
        )


def like(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """``tensor``, whole, split as ``other`` is, if it is; no process asks another for it."""
    if not is_split(other) or is_split(tensor) or tensor.shape != other.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    device = other.to_local().device  # type: ignore[attr-defined]
    mesh, placements = other.device_mesh, other.placements  # type: ignore[attr-defined]
    made: Any = distribute_tensor(tensor.to(mesh.device_type), mesh, placements, src_data_rank=None)
    return made if made.to_local().device == device else made.to(device)


def state_like(plain: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's state dict of whole tensors, with the moments split as the parameters are."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if not any(map(is_split, parameters)):
        return plain
    state = {
        number: {
            name: like(value, parameters[number]) if isinstance(value, torch.Tensor) else value
            for name, value in each.items()
        }
        for number, each in plain["state"].items()
    }
    return {**plain, "state": state}


@dataclass(frozen=True)
class Before:
    """What a model's modules were before it was split, to be put back.

    ``fully_shard`` has no way back of its own. It gives modules another class, hooks, attributes
    and parameters; the first three are noted in ``modules``. ``kinds`` are parameters of a kind of
    their own, such as 4-bit ones, and what they hold beside their numbers, by module and name.
    """

    modules: tuple[tuple[torch.nn.Module, type, frozenset[str], dict[str, dict[Any, Any]]], ...]
    kinds: dict[tuple[int, str], tuple[type, dict[str, Any]]]

    @classmethod
    def of(cls, model: torch.nn.Module) -> Before:
        """As the model is now."""
        return cls(
            tuple(
                (
                    module,
                    type(module),
                    frozenset(vars(module)),
                    {k: dict(v) for k, v in vars(module).items() if _hooks(k, v)},
                )
                for module in model.modules()
            ),
            {
                (id(module), name): (type(p), dict(vars(p)))
                for module in model.modules()
                for name, p in module._parameters.items()
                if p is not None and type(p) is not torch.nn.Parameter
            },
        )

    def parameter(self, module: torch.nn.Module, name: str, made: Any) -> torch.nn.Parameter:
        """``made``, or a parameter with its numbers of the kind that stood there."""
        kind, beside = self.kinds.get((id(module), name), (None, {}))
        if kind is None:
            return made
        own: Any = torch.Tensor._make_subclass(kind, made.detach(), made.requires_grad)
        vars(own).update(beside)
        return own

    def put_back(self) -> None:
        """Classes, hooks and attributes, not parameters."""
        for module, kind, names, hooks in self.modules:
            module.__class__ = kind  # type: ignore[assignment]
            for name in set(vars(module)) - names:
                if "fsdp" in name or "composable" in name:
                    del module.__dict__[name]
            for name, content in hooks.items():
                own = vars(module)[name]
                own.clear()
                own.update(content)


def _hooks(name: str, value: Any) -> bool:
    return "hooks" in name and isinstance(value, dict)


def nothing(like: torch.Tensor) -> torch.Tensor:
    """A tensor of the same shape and type without numbers."""
    return torch.empty(like.shape, dtype=like.dtype, device="meta")


def gather(
    model: torch.nn.Module,
    before: Before,
    device: torch.device,
    only: frozenset[int] | None = None,
) -> None:
    """Makes a split model whole again in the first process; in the others it holds no numbers.

    ``only``: ids of the parameters that the first process gets; by default all.

    Raises:
        RunError: see ``whole``.
    """
    import torch.distributed as dist

    first = dist.get_rank() == 0
    split = {name: p for name, p in model.named_parameters() if is_split(p)}
    wanted = {n: p for n, p in split.items() if only is None or id(p) in only}
    found = whole(wanted, first)
    made: dict[int, torch.nn.Parameter] = {}
    for name, parameter in split.items():
        here = first and name in wanted
        data = found.pop(name).to(device) if here else nothing(parameter)
        made[id(parameter)] = torch.nn.Parameter(data, requires_grad=parameter.requires_grad)
    for module in model.modules():
        for name in list(module._parameters):
            own = made.get(id(module._parameters[name]))
            if own is not None:
                module._parameters[name] = before.parameter(module, name, own)
    before.put_back()
