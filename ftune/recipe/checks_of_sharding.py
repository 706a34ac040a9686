"""Rules for ``distributed.fsdp``: what can't be split over processes, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ftune.recipe.places import KeyPath, Problem

SPLIT_OPTIMIZERS = ("adamw_torch", "sgd")
# Methods that work on whole tensors while they train, and what they do there.
WHOLE_METHODS = {
    "adalora": "ranks whole gradients in each step",
    "importance": "hides the gradients of weights that were not chosen, by whole masks",
}


def training(recipe: Any) -> Iterator[Problem]:
    """Keys of the training that need whole parameters, or a process that can work alone."""
    if recipe.distributed.fsdp is None:
        return
    train, at = recipe.train, "distributed.fsdp"
    if train.optim not in SPLIT_OPTIMIZERS:
        yield _problem(
            ("train", "optim"),
            f"{train.optim} can't work on shares of a tensor ({at}); write "
            f"{' or '.join(SPLIT_OPTIMIZERS)}, or remove {at}",
        )
    if train.torch_compile:
        yield _problem(
            ("train", "torch_compile"),
            f"compiled layers can't be split ({at}); write false, or remove {at}",
        )
    if train.on_oom == "shrink":
        yield _problem(
            ("train", "on_oom"),
            f"shrink lets a process begin a micro-batch again alone, but with {at} they wait for "
            f"each other inside of it; write stop, or remove {at}",
        )
    if train.unfreeze_every is not None:
        yield _problem(
            ("train", "unfreeze_every"),
            f"gradients of split layers are gathered for all alike ({at}); remove one of the two",
        )
    if recipe.distributed.fsdp.cpu_offload and recipe.model.device == "cpu":
        yield _problem(
            ("distributed", "fsdp", "cpu_offload"),
            "on model.device: cpu there is nothing to offload; remove it, or train on a GPU",
        )
    if recipe.distributed.mixed_precision == "fp16":
        yield _problem(
            ("distributed", "mixed_precision"),
            f"the loss is not scaled for fp16 where the model is split ({at}); write bf16 or no",
        )


def method(recipe: Any) -> Iterator[Problem]:
    """Methods and bases whose tensors can't be split."""
    if recipe.distributed.fsdp is None:
        return
    name, settings = recipe.tune.name, recipe.model.quantization
    if name in WHOLE_METHODS:
        yield _problem(
            ("tune", "method"),
            f"{name} {WHOLE_METHODS[name]}, and a process has a share of them only "
            "(distributed.fsdp); write lora, or remove distributed.fsdp",
        )
    if settings is not None and settings.load_in_8bit:
        yield _problem(
            ("model", "quantization", "load_in_8bit"),
            "the scales of 8-bit weights stand beside them and can't be split with them "
            "(distributed.fsdp); write load_in_4bit, or remove distributed.fsdp",
        )


def _problem(at: KeyPath, why: str) -> Problem:
    return Problem(at, f"{'.'.join(map(str, at))}: {why}")


RULES: tuple[Callable[[Any], Iterator[Problem]], ...] = (training, method)
