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
def told(settings: Any) -> Iterator[None]:
    """Turns a lack of memory into a RunError that says what the recipe could change.

    ``settings`` is the train section.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_lack(error):
            raise
        raise RunError(f"{_asked(error)}; {_advice(settings)}") from error


def _is_lack(error: Exception) -> bool:
    words = ("out of memory", "can't allocate memory", "not enough memory")
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(w in str(error).lower() for w in words)


def _asked(error: Exception) -> str:
    line = str(error).strip().partition("\n")[0]
    return f"train: out of memory ({line or type(error).__name__})"


def _advice(settings: Any) -> str:
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
