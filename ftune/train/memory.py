"""Memory in bytes: of the GPU where there is one, else of the process."""

from __future__ import annotations

import sys

import torch


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
