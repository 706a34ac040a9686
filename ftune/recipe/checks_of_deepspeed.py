"""Rules for ``distributed.deepspeed``: its configuration agrees with the recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ftune.errors import RecipeError
from ftune.recipe import deepspeed
from ftune.recipe.checks_of_sharding import SPLIT_OPTIMIZERS, WHOLE_METHODS
from ftune.recipe.deepspeed import KEY
from ftune.recipe.deepspeed_faults import faults
from ftune.recipe.places import Problem, dotted


def problems(
    recipe: Any, config: Mapping[str, Any], processes: int | None = None
) -> Iterator[Problem]:
    """Faults of a configuration, each at its own key, or at that of the file that it stands in."""
    at, inline = ("distributed", "deepspeed"), recipe.distributed.deepspeed
    precision = recipe.distributed.mixed_precision
    for keys, why in faults(config, recipe.train, precision, processes):
        if isinstance(inline, str):
            yield Problem(at, f"{KEY}: {inline}: {dotted(keys)}: {why}")
        else:
            yield Problem((*at, *keys), f"{dotted((*at, *keys))}: {why}")


def configuration(recipe: Any, folder: Path) -> Iterator[Problem]:
    """The configuration itself, and what DeepSpeed can't be asked for beside it."""
    value = recipe.distributed.deepspeed
    if value is None:
        return
    try:
        config = deepspeed.read(value, folder)
    except RecipeError as error:
        yield Problem(("distributed", "deepspeed"), str(error))
        return
    yield from problems(recipe, config)
    for path, why in _refused(recipe, deepspeed.stage(config)):
        yield Problem(path, f"{dotted(path)}: {why}")


def _refused(recipe: Any, stage: int) -> Iterator[tuple[tuple[str, ...], str]]:
    train, name, settings = recipe.train, recipe.tune.name, recipe.model.quantization
    if recipe.distributed.fsdp is not None:
        yield (
            ("distributed", "fsdp"),
            f"both fsdp and {KEY} would split the model; remove one of the two",
        )
    if train.optim not in SPLIT_OPTIMIZERS:
        said = f"{train.optim} can't work on shares of tensors ({KEY})"
        yield ("train", "optim"), f"{said}; write {' or '.join(SPLIT_OPTIMIZERS)}"
    if train.torch_compile:
        yield ("train", "torch_compile"), f"write false, or remove {KEY}"
    if train.on_oom == "shrink":
        said = f"with {KEY} processes wait for each other inside of a micro-batch; write stop"
        yield ("train", "on_oom"), said
    if train.unfreeze_every is not None:
        said = f"{KEY} waits for the gradients of all layers; remove one of the two"
        yield ("train", "unfreeze_every"), said
    if recipe.distributed.mixed_precision == "fp16":
        said = f"the loss is not scaled for fp16 with {KEY}; write bf16 or no"
        yield ("distributed", "mixed_precision"), said
    if name in WHOLE_METHODS:
        said = f"{name} {WHOLE_METHODS[name]}, of which a process has a share only ({KEY})"
        yield ("tune", "method"), f"{said}; write lora"
    if settings is not None and stage == 3:
        said = "quantized weights can't be split (stage 3 of ZeRO); write stage 2, or fsdp: {}"
        bits = "load_in_4bit" if settings.load_in_4bit else "load_in_8bit"
        yield ("model", "quantization", bits), said


RULES: tuple[Callable[[Any, Path], Iterator[Problem]], ...] = (configuration,)
