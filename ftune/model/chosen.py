"""Numbers of a model's parameters that were chosen for training, while their neighbours stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ftune.errors import ModelError

MARK = "ftune_chosen"
Tensors = dict[str, torch.Tensor]


@dataclass
class Chosen:
    """What is trained: by parameter name the numbers of its units, ascending, int64.

    Units are single numbers, rows (first dimension), or all of the parameter, as ``by`` says.
    ``rest`` and ``base`` are made for a training: where a parameter is not chosen, and its numbers.
    """

    by: str
    units: Tensors
    rest: Tensors = field(default_factory=dict)
    base: Tensors = field(default_factory=dict)

    def count(self, name: str, parameter: torch.Tensor) -> int:
        """How many numbers of the parameter are trained."""
        return len(self.units[name]) * units(parameter, self.by).shape[1]


def units(tensor: torch.Tensor, by: str) -> torch.Tensor:
    """``tensor`` as (units, numbers in each)."""
    count = {"parameter": tensor.numel(), "row": tensor.shape[0], "module": 1}[by]
    return tensor.view(count, -1)


def every_unit(tensor: torch.Tensor, by: str) -> torch.Tensor:
    """The numbers of all units of a parameter of this shape."""
    return torch.arange(len(units(tensor, by)))


def of(model: Any) -> Chosen | None:
    """What was chosen of ``model``; None where it is not trained so."""
    return getattr(model, MARK, None)


def mark(model: Any, chosen: Chosen, trainable: bool = True) -> None:
    """Notes the choice on the model, and leaves gradients to its parameters alone."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trainable and name in chosen.units)
    setattr(model, MARK, chosen)


def scores(model: Any, losses: Iterable[torch.Tensor], squared: bool) -> Tensors:
    """Mean over the losses of the gradients' squares, or of their sizes; float32 on the CPU.

    Raises:
        ModelError: one of them is not finite, or there are no losses.
    """
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    summed = {n: torch.zeros_like(p, dtype=torch.float32) for n, p in trained.items()}
    count = 0
    for loss in losses:
        loss.backward()
        count += 1
        for name, parameter in trained.items():
            if parameter.grad is not None:
                found = parameter.grad.float()
                summed[name] += found.square() if squared else found.abs()
                parameter.grad = None
    if not count:
        raise ModelError("tune.sample_rows: none of the sampled rows has a token that is trained")
    bad = [name for name, total in summed.items() if not bool(total.isfinite().all())]
    if bad:
        raise ModelError(
            f"tune.method: importance found gradients of {bad[0]} that are not finite, so nothing "
            "can be ranked by them; take model.dtype: float32"
        )
    return {name: (total / count).cpu() for name, total in summed.items()}


def highest(scored: Mapping[str, torch.Tensor], share: float, by: str) -> Tensors:
    """The units of highest mean score that make up ``share`` of all numbers, at least one.

    ``module`` takes the parameters of a module together. Of equal scores the first one counts.
    """
    names = list(scored)
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.rpartition(".")[0] if by == "module" else name, []).append(name)
    means, sizes = [], []
    for members in groups.values():
        if by == "module":
            size = sum(scored[n].numel() for n in members)
            means.append(
                torch.stack([scored[n].double().sum() for n in members]).sum()[None] / size
            )
            sizes.append(torch.tensor([size]))
        else:
            parts = units(scored[members[0]], by)
            means.append(parts.double().mean(1))
            sizes.append(torch.full((len(parts),), parts.shape[1]))
    budget = share * sum(s.numel() for s in scored.values())
    order = torch.cat(means).argsort(descending=True, stable=True)
    taken = torch.cat(sizes)[order].cumsum(0) <= budget + 0.5
    kept = order[taken] if bool(taken[0]) else order[:1]
    chosen = torch.zeros(len(order), dtype=torch.bool)
    chosen[kept] = True
    found: Tensors = {}
    for members, flags in zip(groups.values(), chosen.split([len(m) for m in means]), strict=True):
        at = flags.nonzero().flatten()
        if len(at):
            found |= {name: at.clone() for name in members}
    return found


def hold(model: Any) -> None:
    """Keeps the numbers that are not chosen, and zeroes their gradients as they come."""
    chosen = of(model)
    if chosen is None:
        raise ModelError("tune.method: importance was not told what to train; train anew (--fresh)")
    chosen.rest, chosen.base = {}, {}
    for name, parameter in model.named_parameters():
        if name not in chosen.units:
            continue
        rest = torch.ones_like(parameter, dtype=torch.bool)
        units(rest, chosen.by)[chosen.units[name].to(rest.device)] = False
        if bool(rest.any()):
            chosen.rest[name] = rest
            chosen.base[name] = parameter.detach().clone()
            parameter.register_hook(lambda grad, rest=rest: grad.masked_fill(rest, 0))


def put_back(model: Any) -> None:
    """Gives all numbers that are not chosen the values that they had."""
    chosen = of(model)
    if chosen is None:
        return
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, rest in chosen.rest.items():
            own[name].copy_(torch.where(rest, chosen.base[name].to(own[name].dtype), own[name]))
