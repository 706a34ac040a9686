"""Optimizers from torch, bitsandbytes and transformers, and learning rate schedules."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch

from ftune.errors import ModelError, RecipeError
from ftune.recipe.schema import Train
from ftune.run.progress import Progress


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters, those with decay first.

    Vectors and scalars (norms, biases, DoRA's magnitudes) have none: decay keeps matrices small,
    while a norm's scale has no reason to go to zero.

    Raises:
        ModelError: no parameter is trainable.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ModelError("the model has no trainable parameter; see the tune section")
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(
    model: torch.nn.Module,
    settings: Train,
    progress: Progress,
    groups: list[dict[str, Any]] | None = None,
) -> torch.optim.Optimizer:
    """The optimizer that ``train.optim`` names, over the trainable parameters.

    ``groups`` are those of the tuning method, if it has its own; they may hold rates.

    Raises:
        ModelError: no parameter is trainable.
        RecipeError: this optimizer doesn't run on the model's device.
    """
    groups = groups or parameter_groups(model, settings.weight_decay)
    rate = settings.learning_rate
    adam: dict[str, Any] = {
        "lr": rate,
        "betas": (settings.adam_beta1, settings.adam_beta2),
        "eps": settings.adam_epsilon,
    }
    device = groups[0]["params"][0].device.type
    if settings.optim == "adamw_torch":
        return torch.optim.AdamW(groups, **adam, fused=device in ("cpu", "cuda"))
    if settings.optim == "sgd":
        # No momentum, and decay apart from the gradient as everywhere else.
        return DecoupledSGD(groups, lr=rate)
    if settings.optim == "adafactor":
        from transformers.optimization import Adafactor

        return Adafactor(groups, lr=rate, scale_parameter=False, relative_step=False)
    return _bitsandbytes(groups, settings.optim, adam, device, progress)


def _bitsandbytes(
    groups: list[dict[str, Any]], name: str, adam: dict[str, Any], device: str, progress: Progress
) -> torch.optim.Optimizer:
    if device not in ("cpu", "cuda", "xpu"):
        raise RecipeError(
            f"train.optim: {name} does not run on {device}; use adamw_torch or adafactor"
        )
    if name.startswith("paged") and device == "cpu":
        progress.warn(
            f"train.optim: {name} pages between GPU and main memory; on a CPU there is nothing to "
            "page, and it works like the optimizer without paging"
        )
    from bitsandbytes.optim import AdamW

    bits = 8 if name.endswith("8bit") else 32
    paged = name.startswith("paged") and device != "cpu"
    return AdamW(groups, **adam, optim_bits=bits, is_paged=paged)


class DecoupledSGD(torch.optim.SGD):
    """Stochastic gradient descent without momentum; decay is p -= rate * decay * p."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; see torch.optim.SGD."""
        decays = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and group["weight_decay"]:
                    p.mul_(1.0 - group["lr"] * group["weight_decay"])
            group["weight_decay"] = 0.0
        try:
            return super().step(closure)
        finally:
            for group, decay in zip(self.param_groups, decays, strict=True):
                group["weight_decay"] = decay


def warmup_steps(settings: Train, total: int) -> int:
    """Steps in which the rate rises: ``warmup_steps``, or ``warmup_ratio`` of all, rounded up."""
    if settings.warmup_steps is not None:
        return settings.warmup_steps
    return math.ceil(round(settings.warmup_ratio * total, 6))


def slanted_triangular(step: int, total: int, cut_frac: float, ratio: float) -> float:
    """The share of the highest rate after ``step`` of ``total`` steps.

    Howard and Ruder 2018, equation 3. Their ``cut`` is rounded down: where that leaves no rise, the
    fall takes all steps, and where it makes the fall end early, the rate stays at its lowest
    instead of going below zero.
    """
    cut = math.floor(round(total * cut_frac, 6))
    fall = cut * (1 / cut_frac - 1) if cut else total
    share = step / cut if step < cut else 1 - (step - cut) / max(fall, 1e-9)
    return (1 + max(share, 0.0) * (ratio - 1)) / ratio


def build_schedule(
    optimizer: torch.optim.Optimizer, settings: Train, total: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """The schedule that ``train.lr_scheduler_type`` names, over ``total`` steps."""
    if settings.lr_scheduler_type == "slanted_triangular":
        shape = settings.slanted_triangular
        rate = partial(slanted_triangular, total=total, cut_frac=shape.cut_frac, ratio=shape.ratio)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    from transformers.optimization import get_scheduler

    return get_scheduler(
        settings.lr_scheduler_type,
        optimizer,
        num_warmup_steps=warmup_steps(settings, total),
        num_training_steps=total,
    )
