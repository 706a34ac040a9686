"""What asking a model costs: tokens, seconds and memory, counted while it is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Cost:
    """Counts of one model; ``generate`` and its callers add to them.

    Prompt tokens are those of the prompts as they are asked, a beginning that many share counted
    in each; ``shared_tokens`` of them were taken from the first one's keys and values.
    """

    prompts: int = 0
    prompt_tokens: int = 0
    shared_tokens: int = 0
    generated_tokens: int = 0
    first_seconds: float = 0.0  # from a batch's start to its first token
    generating_seconds: float = 0.0
    seconds: float = 0.0  # of everything between begin and end
    peak_memory_bytes: int = 0
    _marks: list[float] = field(default_factory=list, repr=False)

    def figures(self) -> dict[str, Any]:
        """For a report; rates are None where nothing was generated.

        ``prompt_tokens_per_second`` is until each batch's first token is there, and
        ``generated_tokens_per_second`` over all of the time, as whoever waits sees it.
        """
        return {
            "seconds": round(self.seconds, 4),
            "seconds_per_prompt": round(self.seconds / self.prompts, 6) if self.prompts else None,
            "prompts": self.prompts,
            "prompt_tokens": self.prompt_tokens,
            "shared_tokens": self.shared_tokens,
            "generated_tokens": self.generated_tokens,
            "prompt_tokens_per_second": _rate(self.prompt_tokens, self.first_seconds),
            "generated_tokens_per_second": _rate(self.generated_tokens, self.generating_seconds),
            "peak_memory_bytes": self.peak_memory_bytes,
        }

    def add(self, **counts: int) -> None:
        """Adds to the counts, by their names."""
        for name, count in counts.items():
            setattr(self, name, getattr(self, name) + count)

    @contextmanager
    def batch(self, device: Any) -> Iterator[None]:
        """Times a batch, which calls ``first`` when its first token is there."""
        self._marks = [_now(device)]
        yield
        self.generating_seconds += _now(device) - self._marks[0]
        self.look(device)

    def first(self, ids: Any, *_: Any, **__: Any) -> Any:
        """A stopping criterion that stops nothing, and notes when it is called first."""
        import torch

        if len(self._marks) == 1:
            self._marks.append(_now(ids.device))
            self.first_seconds += self._marks[1] - self._marks[0]
            self.look(ids.device)
        return torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)

    @contextmanager
    def of(self, device: Any) -> Iterator[None]:
        """Times all that is done inside, and looks at the memory.

        On a GPU the peak is that of what is inside. On a CPU it is the most that the process had
        in use whenever a batch had its first or last token, or all was done.
        """
        if device.type == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats(device)
        begun = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begun
        self.look(device)

    def look(self, device: Any) -> None:
        """Notes the memory that is in use, if it is the most so far."""
        self.peak_memory_bytes = max(self.peak_memory_bytes, _in_use(device))


def _rate(tokens: int, seconds: float) -> float | None:
    return round(tokens / seconds, 2) if tokens and seconds else None


def _now(device: Any) -> float:
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
    return time.perf_counter()


def _in_use(device: Any) -> int:
    """Bytes: the most on a GPU since the peak was reset, else what the process holds now."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    import psutil

    return int(psutil.Process().memory_info().rss)
