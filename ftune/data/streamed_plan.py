"""The order of training on a stream: shard after shard, each planned as any rows are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftune.data.batching import Plan
from ftune.data.steps import Epoch
from ftune.data.store import TokenStore

if TYPE_CHECKING:
    import numpy as np


@dataclass
class StreamedPlan:
    """An epoch is a shard here. ``opened(number)`` gives its rows, ``planned`` their plan;
    ``size`` and ``step_rows`` are the rows of a shard and of a step.

    Rows are read of the epoch that was asked for last.
    """

    opened: Callable[[int], TokenStore]
    planned: Callable[[TokenStore], Plan]
    size: int
    step_rows: int
    store: TokenStore | None = None

    @property
    def rows_now(self) -> TokenStore:
        """Those of the epoch under way."""
        assert self.store is not None
        return self.store

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row of the epoch under way."""
        return self.rows_now.lengths

    @property
    def targets(self) -> np.ndarray:
        """Of them, those that are trained."""
        return self.rows_now.trained_counts

    def tokens(self, epoch: int) -> int:
        """Tokens of an epoch that was formed."""
        return int(self.opened(epoch).lengths.sum())

    def counts(self, epochs: float, max_steps: int | None = None) -> tuple[int, ...]:  # noqa: ARG002
        """Steps of each shard, ``max_steps`` in all."""
        assert max_steps is not None
        each = math.ceil(self.size / self.step_rows)
        whole, rest = divmod(max_steps, each)
        return (each,) * whole + ((rest,) if rest else ())

    def epoch(self, number: int) -> Epoch:
        """The steps of a shard, in an order of its own."""
        self.store = self.opened(number)
        return self.planned(self.store).epoch(number)

    labelled = False

    def __getitem__(self, index: int) -> Any:
        """A row of the shard under way."""
        return self.rows_now[index]
