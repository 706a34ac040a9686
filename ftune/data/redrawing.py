"""The rows of each epoch, where a mixture is drawn anew for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ftune.data.mixing import draws
from ftune.data.store import TokenStore
from ftune.run import atomic

FILE = "mixture.json"  # beside the tokens of all rows: what is drawn of them


@dataclass(frozen=True)
class Told:
    """How a mixture is drawn: the share of each source of what ``by`` counts, and until when."""

    wanted: tuple[float, ...]
    by: str
    stop: str
    seed: int

    def write(self, folder: Path) -> None:
        """Puts it beside the tokens."""
        found = {"wanted": self.wanted, "by": self.by, "stop": self.stop, "seed": self.seed}
        atomic.write_json(folder / FILE, found, exact=True)

    @classmethod
    def read(cls, folder: Path) -> Told | None:
        """The one in ``folder``; None where all its rows are trained in each epoch."""
        if not (folder / FILE).is_file():
            return None
        found = atomic.read_json(folder / FILE)
        return cls(tuple(found["wanted"]), found["by"], found["stop"], found["seed"])


def amounts(store: TokenStore, by: str) -> np.ndarray:
    """What each row counts, int64 of shape (rows,): itself, or its trained tokens."""
    return store.trained_counts if by == "trained_tokens" else np.ones(len(store), np.int64)


class Redraw:
    """Draws of the same rows, one for each epoch.

    A draw follows from the seed and those before it, so that rows that were drawn least come first.
    Asked for epochs in their order, each is drawn once; asked for an earlier one, all are drawn
    again up to there. The first one is that of a mixture that is drawn once.
    """

    def __init__(self, store: TokenStore, told: Told) -> None:
        self._sources, self._amounts = store.sources, amounts(store, told.by)
        self._told = told
        self._start()

    def _start(self) -> None:
        self._epoch = -1
        self._times = np.zeros(len(self._sources), np.int64)
        self._before = self._times

    def times(self, epoch: int) -> np.ndarray:
        """How often each row is drawn for an epoch, counted from 0; int64 of shape (rows,)."""
        if epoch < self._epoch:
            self._start()
        while self._epoch < epoch:
            self._before = self._before + self._times
            self._epoch += 1
            told = self._told
            self._times = draws(
                self._sources,
                self._amounts,
                told.wanted,
                told.stop,
                told.seed,
                self._epoch,
                self._before,
            )
        return self._times

    def rows(self, epoch: int) -> np.ndarray:
        """The numbers of the rows of an epoch, each as often as it is drawn, in their order."""
        times = self.times(epoch)
        return np.repeat(np.arange(len(times)), times)

    def figures(self, epochs: int, names: Sequence[str]) -> dict[str, object]:
        """What was drawn in so many epochs: the rows and shares of each, and how many differ."""
        seen = np.zeros(len(self._sources), np.int64)
        told = []
        for epoch in range(epochs):
            times = self.times(epoch)
            seen = seen + times
            sums = np.bincount(self._sources, times * self._amounts, len(names))
            percent = (100 * sums / sums.sum()).round(6).tolist()
            told.append({"rows": int(times.sum()), "percent": percent})
        return {
            "by": self._told.by,
            "sources": list(names),
            "epochs": told,
            "different_rows": int((seen > 0).sum()),
            "rows": len(seen),
        }
