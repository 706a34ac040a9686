"""One piece of work at a time in a thread of its own, and copies of tensors for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

Tensors = Mapping[str, torch.Tensor]
SHARE = 0.5  # of the memory that is free, which a copy may take
CGROUP = Path("/sys/fs/cgroup")  # where Linux keeps the limits of a container


class Background:
    """Work beside the loop; its error is raised in the loop's thread, once."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def begin(self, work: Callable[[], None]) -> None:
        """Starts ``work``; the one before must have been waited for."""
        assert self._thread is None

        def run() -> None:
            try:
                work()
            except BaseException as error:
                self._error = error

        # Not a daemon: an interpreter that ends waits for it.
        self._thread = threading.Thread(target=run, name="ftune-save")
        self._thread.start()

    def check(self) -> None:
        """Raises what the work raised, if it has ended; doesn't wait."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Waits for the work, and raises what it raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error


class Copies:
    """Copies of tensors on the CPU, in memory that is used again for the next ones."""

    def __init__(self) -> None:
        self._held: dict[str, torch.Tensor] = {}

    def fits(self, parts: Mapping[str, Tensors]) -> bool:
        """Whether copies of these may be made: they take at most ``SHARE`` of what is free."""
        held = sum(t.numel() * t.element_size() for t in self._held.values())
        return bytes_of(parts) - held <= SHARE * free_memory()

    def take(
        self, parts: Mapping[str, Tensors], own: set[int]
    ) -> dict[str, dict[str, torch.Tensor]]:
        """Copies that nothing else changes; tensors whose ids are in ``own`` are such already."""
        held, self._held = self._held, {}
        return {
            part: {name: self._copy(f"{part}/{name}", t, held, own) for name, t in tensors.items()}
            for part, tensors in parts.items()
        }

    def _copy(self, name: str, tensor: torch.Tensor, held: Tensors, own: set[int]) -> torch.Tensor:
        if id(tensor) in own:
            return tensor
        room = held.get(name)
        if room is None or room.shape != tensor.shape or room.dtype != tensor.dtype:
            room = torch.empty(tensor.shape, dtype=tensor.dtype)
        self._held[name] = room
        return room.copy_(tensor.detach())


def bytes_of(parts: Mapping[str, Tensors]) -> int:
    """Bytes of all tensors."""
    return sum(t.numel() * t.element_size() for ts in parts.values() for t in ts.values())


def free_memory() -> int:
    """Bytes that this machine, or the container that it is, has left."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:  # what counts in a container
        most = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free
    cached = 0
    for line in (CGROUP / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        cached += int(value) if name in ("inactive_file", "active_file") else 0
    return min(free, most - used + cached)
