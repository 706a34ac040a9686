"""Which rows are seen together, and in which order: planned from lengths alone.

A plan is a function of (seed, epoch). The rows of an optimizer step are chosen first and split into
micro-batches afterwards, so 8 rows x 1, 4 x 2 and 1 x 8 see the same rows in the same step. Packing
puts the rows of a micro-batch into fewer lines, and so changes the shape of a tensor and not what
is trained. The last, smaller step of an epoch is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ftune.data.packing import pack
from ftune.data.steps import Epoch, Lines, Micro
from ftune.errors import DataError, RecipeError

CHUNK_STEPS = 64  # rows are sorted by length within this many steps, so that order stays random
PACK_WINDOW = 4096  # rows that are packed together


@dataclass(frozen=True)
class Plan:
    """The order of training.

    ``lengths`` are the tokens of each row and ``targets`` how many of them are trained, the first
    token of a row not counted: nothing stands before it to predict it from.

    A step has ``batch_size * accumulation * processes`` rows, or, with ``tokens_per_batch``,
    ``accumulation * processes`` micro-batches of up to so many tokens, padding included. A line of
    a batch is a row, or, with ``pack_length``, several rows of together up to so many tokens.

    ``drawn`` gives the rows of an epoch by their numbers, in any order and perhaps more than once;
    by default they are all.

    Raises:
        DataError: there is no row.
        RecipeError: a row is longer than a line or a micro-batch may be.
    """

    lengths: np.ndarray
    targets: np.ndarray
    batch_size: int
    accumulation: int = 1
    processes: int = 1
    group_by_length: bool = True
    tokens_per_batch: int | None = None
    pack_length: int | None = None
    seed: int = 42
    drawn: Callable[[int], np.ndarray] | None = None

    def __post_init__(self) -> None:
        if not len(self.lengths):
            raise DataError("data.train: no row is left to train on; see the format report")
        longest = int(self.lengths.max())
        for key, limit in (
            ("train.tokens_per_batch", self.tokens_per_batch),
            ("data.max_length", self.pack_length),
        ):
            if limit is not None and longest > limit:
                raise RecipeError(
                    f"{key}: {limit} is less than the longest row ({longest} tokens); raise it, "
                    "or lower data.max_length and set data.on_too_long"
                )

    def counts(self, epochs: float, max_steps: int | None = None) -> tuple[int, ...]:
        """Steps of each epoch; the last one is cut where ``epochs`` has a fraction.

        With ``max_steps`` there are exactly so many in all, however many epochs that takes.
        """
        counts: list[int] = []
        left = math.inf if max_steps is None else max_steps
        while left > 0 and (max_steps is not None or len(counts) < epochs):
            share = 1.0 if max_steps is not None else min(1.0, epochs - len(counts))
            # Rounded first: 1.1 epochs of 10 steps are 11 steps, not 12 for a float's last digit.
            steps = math.ceil(round(self._steps_in(len(counts)) * share, 6))
            counts.append(int(min(steps, left)))
            left -= counts[-1]
        return tuple(counts)

    def _steps_in(self, epoch: int) -> int:
        if self.tokens_per_batch is None:
            return math.ceil(len(self._rows(epoch)) / self.step_rows)
        return len(self.epoch(epoch))

    def tokens(self, epoch: int) -> int:
        """Tokens of an epoch, without padding."""
        return int(self.lengths[self._rows(epoch)].sum())

    def _rows(self, epoch: int) -> np.ndarray:
        return np.arange(len(self.lengths)) if self.drawn is None else self.drawn(epoch)

    @property
    def step_rows(self) -> int:
        """Rows of a step, where no budget of tokens is given."""
        return self.batch_size * self.accumulation * self.processes

    def epoch(self, number: int) -> Epoch:
        """The steps of an epoch (from 0), the same ones for the same seed."""
        random = np.random.default_rng((self.seed, number))
        lines = self._lines(random.permutation(self._rows(number)), random)
        inner = None
        if self.tokens_per_batch is None:
            cuts = np.append(np.arange(0, len(lines), self.step_rows), len(lines))
        else:
            inner = _fill(lines.lengths, self.tokens_per_batch)
            cuts = np.append(inner[: -1 : self.accumulation * self.processes], len(lines))
        return Epoch(
            lines,
            cuts,
            random.permutation(len(cuts) - 1),
            inner=inner,
            batch_size=self.batch_size,
            pack_length=self.pack_length,
            processes=self.processes,
            row_lengths=self.lengths,
            row_targets=self.targets,
        )

    def _lines(self, order: np.ndarray, random: np.random.Generator) -> Lines:
        if self.pack_length is None or self.tokens_per_batch is None:
            if self.group_by_length:
                order = self._like_lengths(order)
            return Lines(order, np.arange(len(order) + 1), self.lengths[order])
        windows = [order[a : a + PACK_WINDOW] for a in range(0, len(order), PACK_WINDOW)]
        packed = [line for w in windows for line in pack(w, self.lengths, self.pack_length)]
        packed = [packed[i] for i in random.permutation(len(packed))]
        rows = np.concatenate([np.array(line) for line in packed])
        edges = np.cumsum([0, *(len(line) for line in packed)])
        return Lines(rows, edges, np.add.reduceat(self.lengths[rows], edges[:-1]))

    def _like_lengths(self, order: np.ndarray) -> np.ndarray:
        """Sorted within chunks, up and down in turn so that lengths don't jump at their edges."""
        size = self.step_rows * CHUNK_STEPS
        chunks: list[np.ndarray] = []
        for start in range(0, len(order), size):
            chunk = order[start : start + size]
            chunk = chunk[np.argsort(self.lengths[chunk], kind="stable")]
            chunks.append(chunk if len(chunks) % 2 == 0 else chunk[::-1])
        return np.concatenate(chunks)


def _fill(lengths: np.ndarray, budget: int) -> np.ndarray:
    """Edges of micro-batches that hold as many lines as fit when padded to their longest."""
    edges, longest = [0], 0
    for at, length in enumerate(lengths.tolist()):
        longest = max(longest, length)
        if at > edges[-1] and longest * (at + 1 - edges[-1]) > budget:
            edges.append(at)
            longest = length
    return np.array([*edges, len(lengths)])


def in_order(lengths: np.ndarray, batch_size: int) -> tuple[Micro, ...]:
    """Batches for an evaluation: all rows, the longest first, so a lack of memory shows early."""
    order = np.argsort(-lengths, kind="stable")
    return tuple(
        Micro(tuple((int(row),) for row in order[start : start + batch_size]))
        for start in range(0, len(order), batch_size)
    )
