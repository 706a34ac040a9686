"""DeepSpeed's shares put together and apart: for checkpoints, counts, and the model at the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from ftune.train.gathering import Before, agree, bits

# What stage 3 leaves on a module, besides what begins with "ds_".
LEFT = frozenset({
    "_external_params", "_original_parameters", "all_parameters", "applied_pre_backward_ref_cnt",
    "external_parameters", "post_bwd_fn", "pre_bwd_fn", "nvtx_name",
})  # fmt: skip
OF_PARAMETERS = (
    "_dp_group", "_hp_mapping", "_index_in_param_group", "_zero_optimizer", "get_full_hp_grad",
    "get_full_hp_param", "load_hp_checkpoint_state", "set_full_hp_grad", "set_full_hp_param",
    "grad_accum", "param_idx_in_group",
)  # fmt: skip


def _world() -> tuple[int, int]:
    import torch.distributed as dist

    return dist.get_rank(), dist.get_world_size()


def shape(parameter: Any) -> list[int]:
    """A parameter's shape, whole."""
    return list(getattr(parameter, "ds_shape", parameter.shape))


def weights(zero: Any, keep: bool) -> dict[str, torch.Tensor]:
    """The trained weights, whole; those that no process splits are the parameters themselves."""
    if not zero.split:
        return dict(zero.trained)
    return _gathered(zero, zero.trained.items(), None, keep)


def moments(zero: Any, keep: bool) -> dict[str, Any]:
    """The optimizer's state dict as torch's own would be of whole parameters."""
    state: dict[int, dict[str, Any]] = {}
    if zero.stage == 0:
        return zero.optimizer.state_dict()
    held = [s for s in zero.optimizer.state.values() if s]
    numbered = list(enumerate(p for each in zero.groups for p in each))
    if held:
        _link(zero)
        state = {number: {} for number, _ in numbered}
        for key, value in held[0].items():
            if _is_share(value):
                found = _gathered(zero, numbered, key, keep)
            else:
                found = {n: value.clone() if hasattr(value, "clone") else value for n in state}
            for number, tensor in found.items():
                state[number][key] = tensor
    return {"state": state, "param_groups": _groups(zero)}


def _groups(zero: Any) -> list[dict[str, Any]]:
    found, at = [], 0
    for each, parameters in zip(zero.optimizer.param_groups, zero.groups, strict=True):
        numbers = list(range(at, at + len(parameters)))
        found.append({**{k: v for k, v in each.items() if k != "params"}, "params": numbers})
        at += len(parameters)
    return found


def _is_share(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 0


def _gathered(
    zero: Any, named: Iterable[tuple[Any, Any]], key: str | None, keep: bool
) -> dict[Any, torch.Tensor]:
    """By name, each parameter's float32 weights or one of its moments, whole and on the CPU.

    Raises:
        RunError: what was put together differs from what some process holds.
    """
    found, wrong = {}, []
    for name, parameter in named:
        if zero.split:
            full = zero.sharded.get_full_hp_param(parameter, key)
        else:
            full = parameter.get_full_hp_param(key)
        own, start = _own(zero, parameter, key)
        part = full.flatten()[start : start + own.numel()]
        # Zero may have lost its sign in a sum.
        if not torch.equal(bits(part + 0.0), bits(own[: part.numel()].to(part.device) + 0.0)):
            wrong.append(str(name))
        if keep:
            found[name] = full.detach().reshape(shape(parameter)).cpu()
    agree(wrong)
    return found


def _own(zero: Any, parameter: Any, key: str | None) -> tuple[torch.Tensor, int]:
    """This process's share, flat, and where in the whole it begins."""
    if zero.split:
        own = zero.sharded.get_local_fp32_param(parameter, key)
        return own, own.numel() * _world()[0]
    mapping = parameter._hp_mapping
    if mapping is None:
        return torch.empty(0), 0
    return mapping.get_hp_fragment(key).flatten(), mapping.lp_fragment_address.start


@torch.no_grad()
def load_weights(zero: Any, saved: Mapping[str, torch.Tensor]) -> None:
    """Puts whole weights into each process's share, and into DeepSpeed's copies of them."""
    for name, parameter in zero.trained.items():
        if zero.split:
            from deepspeed.runtime.zero import GatheredParameters

            with GatheredParameters([parameter], modifier_rank=0):
                parameter.data.copy_(saved[name])
        else:
            parameter.data.copy_(saved[name])
    if zero.stage:
        zero.sharded.refresh_fp32_params()


@torch.no_grad()
def load_moments(zero: Any, whole: dict[str, Any]) -> None:
    """Puts an optimizer's state dict of whole tensors into each process's share."""
    if zero.stage == 0:
        zero.optimizer.load_state_dict(whole)
        return
    for own, saved in zip(zero.optimizer.param_groups, whole["param_groups"], strict=True):
        own.update({k: v for k, v in saved.items() if k != "params"})
    state = whole["state"]
    if not state:
        return
    first = next(iter(state.values()))
    for flat in _flats(zero):
        zero.optimizer.state[flat] = {
            key: torch.zeros_like(flat) if _is_share(value) else _copied(value, flat.device)
            for key, value in first.items()
        }
    _link(zero)
    for number, parameter in enumerate(p for each in zero.groups for p in each):
        for key, value in state[number].items():
            if _is_share(value):
                own, start = _own(zero, parameter, key)
                part = value.flatten()[start : start + own.numel()]
                own[: part.numel()].copy_(part)


def _flats(zero: Any) -> list[torch.Tensor]:
    """What the optimizer changes in this process: flat tensors of several parameters' shares."""
    name = "fp32_partitioned_groups_flat" if zero.split else "single_partition_of_fp32_groups"
    return list(getattr(zero.sharded, name))


def _link(zero: Any) -> None:
    """Lets each parameter of stages 1 and 2 find its moments in the optimizer's flat ones.

    DeepSpeed does it in the first step, after the first group's, when others have none yet.
    """
    if not zero.split:
        zero.sharded._hp_optimizer_states_linked = False
        zero.sharded._lazy_init_hp_params_optimizer_state()


def _copied(value: Any, device: torch.device) -> Any:
    return value.detach().clone().to(device) if isinstance(value, torch.Tensor) else value


def not_finite(zero: Any) -> list[str]:
    """Names of trained parameters that hold a number that is not finite, in any process."""
    import torch.distributed as dist

    bad = [n for n, p in zero.trained.items() if not bool(torch.isfinite(_held(p)).all())]
    every: list[list[str]] = [[] for _ in range(_world()[1])]
    dist.all_gather_object(every, bad)
    return [name for name in zero.trained if any(name in each for each in every)]


def _held(parameter: Any) -> torch.Tensor:
    """What this process keeps of a parameter between the steps."""
    own = getattr(parameter, "ds_tensor", None)
    return parameter.data if own is None else own.data


def _gradients(sharded: Any) -> Iterator[torch.Tensor]:
    for each in (getattr(sharded, "averaged_gradients", None) or {}).values():
        yield from (gradient for gradient in each or () if gradient is not None)


def gradient_elements(zero: Any) -> int:
    """How many numbers of the added-up gradient this process holds before a step."""
    if zero.stage == 0:
        return sum(p.grad.numel() for p in zero.trained.values() if p.grad is not None)
    held = sum(gradient.numel() for gradient in _gradients(zero.sharded))
    # An offloaded optimizer's stands at its own tensors.
    return held or sum(flat.grad.numel() for flat in _flats(zero) if flat.grad is not None)


def spoil(sharded: Any) -> None:
    """Makes a gradient one that DeepSpeed itself throws away."""
    for gradient in _gradients(sharded):
        gradient.fill_(math.nan)
    norms = getattr(sharded, "norm_for_param_grads", None) or {}  # with an offloaded optimizer
    for number, value in norms.items():
        norms[number] = torch.full_like(torch.as_tensor(value), math.nan)


def told(zero: Any, reduced: int, peak: int) -> dict[str, Any]:
    """Counts of what is split, and bytes of all of it and of each process's part.

    ``reduced``: numbers of the last gradient that this process held; ``peak``: its most memory.
    """
    import torch.distributed as dist

    parameters = list(zero.engine.module.parameters())
    state = [t for s in zero.optimizer.state.values() for t in s.values() if _is_share(t)]
    own = (
        sum(_held(p).numel() * p.element_size() for p in parameters),
        sum(t.numel() * t.element_size() for t in state),
        4 * reduced,
        peak,
    )
    every: list[Any] = [None] * _world()[1]
    dist.all_gather_object(every, own)
    names = ("parameter", "optimizer", "gradient", "peak_memory")
    return {
        "processes": _world()[1],
        "parameters": len(parameters),
        "parameters_split": sum(getattr(p, "ds_tensor", None) is not None for p in parameters),
        "trained_elements": sum(math.prod(shape(p)) for p in zero.trained.values()),
        "parameter_bytes": sum(math.prod(shape(p)) * p.element_size() for p in parameters),
        **{f"{n}_bytes_of_each": [each[at] for each in every] for at, n in enumerate(names)},
    }


@torch.no_grad()
def give_back(zero: Any, model: torch.nn.Module, before: Before, device: torch.device) -> None:
    """A plain model again, with the weights of now; what stage 3 split is whole in the first
    process, and holds no numbers in the others."""
    made: dict[int, torch.nn.Parameter] = {}
    if zero.split:
        _check_gathered(zero)
        for parameter in model.parameters():
            made[id(parameter)] = _plain(parameter, device)
    zero.engine.destroy()
    for module in model.modules():
        module._parameters = {
            name: made.get(id(p), p) if p is not None else None
            for name, p in module._parameters.items()
        }
    before.put_back()
    for module, _, names, _ in before.modules:
        for name in set(vars(module)) - names:
            if name.startswith("ds_") or name in LEFT:
                del module.__dict__[name]
    if not zero.split:
        for parameter in model.parameters():
            for name in OF_PARAMETERS:
                vars(parameter).pop(name, None)
            parameter.data = parameter.data.clone()  # it stood in DeepSpeed's buffer of all


def _check_gathered(zero: Any) -> None:
    """Raises RunError unless the trained weights that are gathered are what processes hold."""
    _gathered(zero, zero.trained.items(), None, keep=False)


def _plain(parameter: Any, device: torch.device) -> torch.nn.Parameter:
    from deepspeed.runtime.zero import GatheredParameters

    with GatheredParameters([parameter]):
        first = _world()[0] == 0
        data = parameter.data.clone().to(device) if first else None
    if data is None:
        data = torch.empty(shape(parameter), dtype=parameter.dtype, device="meta")
    return torch.nn.Parameter(data, requires_grad=parameter.requires_grad)
