"""What in a DeepSpeed configuration is unknown, or says something else than the recipe.

The names are DeepSpeed's own, https://www.deepspeed.ai/docs/config-json/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ftune.recipe.deepspeed import AUTO

Fault = tuple[tuple[str, ...], str]  # keys down to the value, and what is wrong with it

SWITCHES = (
    "allgather_partitions",
    "contiguous_gradients",
    "ignore_unused_parameters",
    "overlap_comm",
    "reduce_scatter",
    "round_robin_gradients",
)
SIZES = (
    "allgather_bucket_size",
    "reduce_bucket_size",
    "stage3_max_live_parameters",
    "stage3_max_reuse_distance",
    "stage3_param_persistence_threshold",
    "stage3_prefetch_bucket_size",
    "sub_group_size",
)
OFFLOADS = ("offload_optimizer", "offload_param")
GATHERING = "stage3_gather_16bit_weights_on_model_save"
# The least stage of ZeRO in which each has something to move.
LEAST = {"offload_optimizer": 1, "offload_param": 3}
# WarmupCosineLR ends at another rate than cosine does.
SCHEDULES = {"WarmupLR": "constant_with_warmup", "WarmupDecayLR": "linear"}
OPTIMIZERS = {"adamw": "adamw_torch", "adam": "adamw_torch", "sgd": "sgd"}


def faults(
    config: Mapping[str, Any], train: Any, precision: str, processes: int | None
) -> Iterator[Fault]:
    """What is unknown, or says something else than the recipe; ``train`` is its section.

    ``processes`` is None where it isn't known yet.
    """
    own: dict[str, tuple[str, Any]] = {
        "gradient_accumulation_steps": (
            "train.gradient_accumulation_steps",
            train.gradient_accumulation_steps,
        ),
        "gradient_clipping": ("train.max_grad_norm", train.max_grad_norm or 0),
        "zero_allow_untested_optimizer": (f"train.optim: {train.optim}", True),
        "zero_force_ds_cpu_optimizer": ("the optimizer, which is torch's,", False),
        **_sizes(train, processes),
    }
    parts = {"zero_optimization": _zero, "steps_per_print": None, "wall_clock_breakdown": None}
    for key, value in config.items():
        if key in own:
            yield from _same((key,), value, *own[key])
        elif key in ("bf16", "fp16"):
            yield from _half(key, value, precision)
        elif key == "optimizer":
            yield from _optimizer(value, train)
        elif key == "scheduler":
            yield from _scheduler(value, train)
        elif key not in parts:
            yield (key,), f"ftune does not know what {key} would change in its training; remove it"
        elif key == "zero_optimization":
            yield from _zero(value)
        elif value not in (AUTO, None, False):
            yield (
                (key,),
                f"DeepSpeed's own prints stay off, metrics.jsonl has speed and memory: {key} "
                "must be null or false",
            )


def _sizes(train: Any, processes: int | None) -> dict[str, tuple[str, Any]]:
    if train.tokens_per_batch is not None:
        said = "train.tokens_per_batch (micro-batches of no fixed size)"
        return dict.fromkeys(("train_micro_batch_size_per_gpu", "train_batch_size"), (said, None))
    micro, times = train.per_device_train_batch_size, train.gradient_accumulation_steps
    whole = "train.per_device_train_batch_size * gradient_accumulation_steps * processes"
    return {
        "train_micro_batch_size_per_gpu": ("train.per_device_train_batch_size", micro),
        "train_batch_size": (whole, micro * times * processes if processes else ...),
    }


def _same(at: tuple[str, ...], value: Any, name: str, own: Any) -> Iterator[Fault]:
    """A fault if a value is neither "auto" nor what the recipe says; ``...``: not known yet."""
    number = isinstance(value, int | float) and not isinstance(value, bool | None)
    if value == AUTO or (own is ... and number):
        return
    if value == own and isinstance(value, bool) == isinstance(own, bool):
        return
    said = "" if own is ... else f" says {json.dumps(own)}"
    if own is None:
        said = " says nothing of it"
    yield (
        at,
        f'it is {json.dumps(value)}, and {name}{said}; write "auto", which takes the recipe\'s',
    )


def _half(key: str, value: Any, precision: str) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield (key,), f'{key} must be an object such as {{"enabled": "auto"}}'
    elif value.get("enabled", False) not in (AUTO, False):
        yield (
            (key, "enabled"),
            "DeepSpeed would round the model to 16 bits; in ftune weights that are trained stay in "
            f"float32, frozen ones in model.dtype, and distributed.mixed_precision (now "
            f'{precision}) is the type that is computed in; write "auto" or false',
        )


def _optimizer(value: Any, train: Any) -> Iterator[Fault]:
    at = ("optimizer",)
    if not isinstance(value, dict) or not set(value) <= {"type", "params"}:
        yield at, "optimizer has a type and params, nothing else; or remove it"
        return
    if OPTIMIZERS.get(str(value.get("type")).lower()) != train.optim:
        yield (
            (*at, "type"),
            f"it is {value.get('type')}, and train.optim is {train.optim}; remove the section, "
            "or change one of the two",
        )
        return
    betas = [train.adam_beta1, train.adam_beta2]
    own = {
        "lr": ("train.learning_rate", train.learning_rate),
        "weight_decay": ("train.weight_decay", train.weight_decay),
    }
    if train.optim == "adamw_torch":
        own["betas"] = ("train.adam_beta1 and adam_beta2", betas)
        own["eps"] = ("train.adam_epsilon", train.adam_epsilon)
        own["torch_adam"] = own["adam_w_mode"] = ("train.optim: adamw_torch", True)
    yield from _params(at, value, own)


def _scheduler(value: Any, train: Any) -> Iterator[Fault]:
    at = ("scheduler",)
    if not isinstance(value, dict) or not set(value) <= {"type", "params"}:
        yield at, "scheduler has a type and params, nothing else; or remove it"
        return
    own_type = train.lr_scheduler_type
    if SCHEDULES.get(str(value.get("type"))) != own_type:
        yield (
            (*at, "type"),
            f"it is {value.get('type')}, and train.lr_scheduler_type is {own_type}; remove the "
            "section, or change one of the two",
        )
        return
    # Numbers of steps depend on the rows, of which nothing is known here.
    steps = train.warmup_steps if train.warmup_steps is not None else 0
    known = train.warmup_steps is not None or not train.warmup_ratio
    warm = "train.warmup_steps" if known else "train.warmup_ratio"
    own = {
        "warmup_num_steps": (warm, steps if known else None),
        "warmup_max_lr": ("train.learning_rate", train.learning_rate),
        "warmup_min_lr": ("the rise of the rate from zero", 0),
        "warmup_type": ("the rise of the rate", "linear"),
        "total_num_steps": ("the number of steps, which follows from the rows,", None),
    }
    yield from _params(at, value, own)
    params = value.get("params")
    if (steps or not known) and "warmup_type" not in (params if isinstance(params, dict) else {}):
        yield (
            (*at, "params"),
            'without warmup_type DeepSpeed\'s rate rises by a logarithm; write "auto" there, which '
            "is the recipe's straight line",
        )


def _params(
    at: tuple[str, ...], value: Mapping[str, Any], own: Mapping[str, tuple[str, Any]]
) -> Iterator[Fault]:
    params = value.get("params", {})
    if not isinstance(params, dict):
        yield (*at, "params"), "params must be an object"
        return
    for key, one in params.items():
        if key in own:
            yield from _same((*at, "params", key), one, *own[key])
        else:
            yield (*at, "params", key), f"the recipe has nothing like {key}; remove it"


def _zero(value: Any) -> Iterator[Fault]:
    at = ("zero_optimization",)
    if not isinstance(value, dict):
        yield at, 'it must be an object such as {"stage": 2}'
        return
    number = value.get("stage", 0)
    if isinstance(number, bool) or number not in (0, 1, 2, 3):
        yield (*at, "stage"), f"stage is {json.dumps(number)}; write 0, 1, 2 or 3"
        return
    for key, one in value.items():
        if key == "stage" or one == AUTO:
            continue
        if key in OFFLOADS:
            yield from _offload((*at, key), one, number)
        elif key in SWITCHES:
            if not isinstance(one, bool):
                yield (*at, key), f"{key} is {json.dumps(one)}; write true or false"
        elif key in SIZES:
            good = isinstance(one, int | float) and not isinstance(one, bool)
            if not good or not 0 <= one < 1e18 or one != int(one):
                yield (*at, key), f"{key} is {json.dumps(one)}; write a whole number"
        elif key == GATHERING:
            yield from _same((*at, key), one, "the result, which is always saved whole,", True)
        else:
            said = f"{key} was never tried with ftune's training; remove it"
            yield (*at, key), said


def _offload(at: tuple[str, ...], value: Any, number: int) -> Iterator[Fault]:
    if value is None:
        return
    if not isinstance(value, dict) or not set(value) <= {"device", "pin_memory"}:
        yield at, "only device and pin_memory can be there"
        return
    device = value.get("device", "none")
    if device not in ("none", "cpu"):
        yield (*at, "device"), f"device is {json.dumps(device)}; write cpu or none"
    elif device == "cpu" and number < LEAST[at[-1]]:
        yield (
            (*at, "device"),
            f"with stage {number} there is nothing to move; write stage {LEAST[at[-1]]} or more, "
            "or none",
        )
    if value.get("pin_memory", AUTO) not in (AUTO, True, False):
        yield (*at, "pin_memory"), "pin_memory must be true or false"
