"""The steps of one epoch, built when they are asked for, so that memory stays with the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ftune.data.packing import pack

Line = tuple[int, ...]  # rows that stand in one line of a batch: one, or several if packed


@dataclass(frozen=True, slots=True)
class Micro:
    """What one process sees at once; an idle one repeats a row and trains nothing of it."""

    lines: tuple[Line, ...]
    idle: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step.

    ``micros[process]`` are the micro-batches of a process, equally many for each. ``targets`` are
    the trained tokens and ``tokens`` the tokens without padding of the step, over all processes.
    """

    micros: tuple[tuple[Micro, ...], ...]
    rows: int
    targets: int
    tokens: int


@dataclass(frozen=True)
class Lines:
    """Lines of rows: line i holds ``rows[edges[i]:edges[i + 1]]``; ``lengths`` are their tokens."""

    rows: np.ndarray
    edges: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, at: int) -> Line:
        return tuple(self.rows[self.edges[at] : self.edges[at + 1]].tolist())


class Epoch(Sequence[Step]):
    """Steps in the order ``order``; step s covers the lines from ``cuts[s]`` to ``cuts[s + 1]``.

    ``inner`` are the edges of micro-batches if the plan fixed them (a token budget). Else each line
    is a row; a step's rows are sorted by length and cut into the fewest equal parts of at most
    ``batch_size`` rows, and the rows of a part put into lines of ``pack_length`` if that is given.
    """

    def __init__(
        self,
        lines: Lines,
        cuts: np.ndarray,
        order: np.ndarray,
        *,
        inner: np.ndarray | None,
        batch_size: int,
        pack_length: int | None,
        processes: int,
        row_lengths: np.ndarray,
        row_targets: np.ndarray,
    ) -> None:
        self._lines, self._cuts, self._order, self._inner = lines, cuts, order, inner
        self._batch_size, self._processes = batch_size, processes
        self._pack_length = None if inner is not None else pack_length
        self._row_lengths, self._row_targets = row_lengths, row_targets

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, at: Any) -> Any:
        """The step at a position; negative positions count from the end."""
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        number = self._order[at]
        first, last = int(self._cuts[number]), int(self._cuts[number + 1])
        rows = self._lines.rows[self._lines.edges[first] : self._lines.edges[last]]
        return Step(
            micros=self._hand_out(self._parts(first, last)),
            rows=len(rows),
            targets=int(self._row_targets[rows].sum()),
            tokens=int(self._row_lengths[rows].sum()),
        )

    def _parts(self, first: int, last: int) -> list[tuple[Line, ...]]:
        """The lines of each micro-batch."""
        if self._inner is not None:
            lines = np.arange(first, last)
            a, b = np.searchsorted(self._inner, (first, last))
            starts = (self._inner[a : b + 1] - first).tolist()
        else:
            span = np.arange(first, last)
            lines = span[np.argsort(self._lines.lengths[span], kind="stable")]
            rounds = math.ceil(math.ceil(len(span) / self._batch_size) / self._processes)
            parts = min(rounds * self._processes, len(span))
            starts = [len(span) * i // parts for i in range(parts + 1)]
        return [self._packed(lines[a:b]) for a, b in pairwise(starts)]

    def _packed(self, lines: np.ndarray) -> tuple[Line, ...]:
        """The lines as they are, or their rows in fewer lines."""
        if self._pack_length is None:
            return tuple(self._lines[int(i)] for i in lines)
        return tuple(pack(self._lines.rows[lines], self._row_lengths, self._pack_length))

    def _hand_out(self, parts: list[tuple[Line, ...]]) -> tuple[tuple[Micro, ...], ...]:
        """To the processes in turn; who would get one less repeats a line idly."""
        micros = [Micro(lines) for lines in parts]
        micros += [Micro(parts[-1][:1], idle=True)] * (-len(micros) % self._processes)
        return tuple(tuple(micros[p :: self._processes]) for p in range(self._processes))
