"""Memory in bytes: of the GPU where there is one, else of the process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ftune.errors import RunError


def used(device: torch.device) -> int:
    """What is in use now."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak(device: torch.device) -> int:
    """The most that was in use since the process began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(size) if sys.platform == "darwin" else int(size) * 1024


@contextmanager
def told(settings: Any, evaluation: bool = False) -> Iterator[None]:
    """Turns a lack of memory into a RunError that says what the recipe could change.

    ``settings`` is the train section.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_lack(error):
            raise
        if evaluation:
            size = settings.per_device_eval_batch_size
            raise RunError(
                f"{asked(error)}; it was in the evaluation: lower train.per_device_eval_batch_size "
                f"(now {size}), which changes no figure, and run the same command again"
            ) from error
        more = ""
        if settings.on_oom == "stop" and settings.per_device_train_batch_size > 1:
            more = "; or set train.on_oom: shrink, which does that by itself"
        raise RunError(f"{asked(error)}; {advice(settings)}{more}") from error


def is_lack(error: Exception) -> bool:
    """Whether an error says that memory could not be had."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(w in str(error).lower() for w in words)


def asked(error: Exception) -> str:
    """What was asked for, as the allocator says it."""
    line = str(error).strip().partition("\n")[0]
    return f"train: out of memory ({line or type(error).__name__})"


def advice(settings: Any) -> str:
    """What to change; the gradient of a step stays the same by the first of these."""
    size, accumulation = settings.per_device_train_batch_size, settings.gradient_accumulation_steps
    steps = []
    if settings.tokens_per_batch is not None:
        steps.append(f"lower train.tokens_per_batch (now {settings.tokens_per_batch:,})")
    elif size > 1:
        steps.append(
            f"set train.per_device_train_batch_size to {size // 2} and "
            f"train.gradient_accumulation_steps to {accumulation * 2}, which trains the same"
        )
    if not settings.gradient_checkpointing:
        steps.append("set train.gradient_checkpointing: true")
    steps += ["lower data.max_length", "keep the base in 4 bits (tune.method: qlora)"]
    return "; or ".join(steps)
