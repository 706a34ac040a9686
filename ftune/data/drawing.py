"""A file of all tokens -> the file that is trained on, each row as often as its mixture says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.data import redrawing
from ftune.data.ledger import Ledger
from ftune.data.mixing import draws, rates
from ftune.data.store import TokenStore, TokenWriter
from ftune.errors import DataError
from ftune.types import Tokens

if TYPE_CHECKING:
    import numpy as np

NEAR = 0.01  # how far a source's share may be from what was asked before a warning says so
UNITS = {"rows": "rows", "trained_tokens": "trained tokens"}


@dataclass(frozen=True)
class Draw:
    """``times[i]`` says how often row i of a store is used; ``wanted`` and ``made`` are shares.

    ``made`` has one share a source, of what ``by`` counts.
    """

    times: np.ndarray
    wanted: tuple[float, ...]
    made: tuple[float, ...]
    warnings: tuple[str, ...]

    @property
    def furthest(self) -> int:
        """The source whose share is furthest from what was asked."""
        return max(range(len(self.made)), key=lambda i: abs(self.made[i] - self.wanted[i]))


def draw(
    store: TokenStore, mixture: Any, weights: Sequence[float], ledger: Ledger, seed: int
) -> Draw:
    """Draws rows of ``store`` as ``mixture`` (recipe.schema.Mixture) says, and counts them anew.

    Raises:
        DataError: a source has nothing to give, or would be repeated without end.
    """
    amounts = redrawing.amounts(store, mixture.by)
    sizes = _sums(store.sources, amounts, len(weights))
    for source, size in enumerate(sizes):
        if not size:
            raise DataError(_nothing(ledger, source, mixture.by))
    wanted = rates(sizes, mixture.sampling, mixture.temperature, mixture.cap, weights)
    times = draws(store.sources, amounts, wanted, mixture.stop, seed)
    made = _shares(_sums(store.sources, times * amounts, len(weights)))
    _count(store, times, wanted, ledger)
    warnings = tuple(_told(ledger, wanted, made, mixture))
    return Draw(times, wanted, made, warnings)


def _sums(sources: np.ndarray, amounts: np.ndarray, count: int) -> list[float]:
    import numpy as np

    found: list[float] = np.bincount(sources, weights=amounts, minlength=count).tolist()
    return found


def _shares(sums: Sequence[float]) -> tuple[float, ...]:
    return tuple(each / (sum(sums) or 1.0) for each in sums)


def _nothing(ledger: Ledger, source: int, by: str) -> str:
    counts = ledger[source]
    reasons = {"bad": counts.bad, "held out": counts.held_out, **counts.dropped}
    gone = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
    what = f"has {counts.used} rows and no trained token" if counts.used else "has no row left"
    return (
        f"data.train[{source}]: {counts.source} {what} ({counts.read} rows read"
        f"{', ' + gone if gone else ''}), so data.mixture can't give it a share"
        f"{' of trained tokens' if by == 'trained_tokens' else ''}; mend the source, or take it out"
    )


def _count(store: TokenStore, times: np.ndarray, wanted: Sequence[float], ledger: Ledger) -> None:
    many = len(wanted)
    sums = {
        "used": _sums(store.sources, times > 0, many),
        "examples": _sums(store.sources, times, many),
        "tokens": _sums(store.sources, times * store.lengths, many),
        "trained": _sums(store.sources, times * store.marked, many),
        "truncated": _sums(store.sources, times * store.truncated, many),
    }
    rows, trained = _shares(sums["examples"]), _shares(sums["trained"])
    for source in range(many):
        shares = {"asked": wanted[source], "rows": rows[source], "trained": trained[source]}
        drawn = {name: int(each[source]) for name, each in sums.items()}
        percent = {f"{k}_percent": 100 * v for k, v in shares.items()}
        ledger[source].redraw(drawn, percent, times[store.sources == source])  # type: ignore[arg-type]
    ledger.balance()


def _told(
    ledger: Ledger, wanted: Sequence[float], made: Sequence[float], mixture: Any
) -> Iterator[str]:
    """What came out otherwise than it was asked."""
    more = "" if mixture.stop == "all_exhausted" else "; stop: all_exhausted draws more of them"
    for source, (asked, share) in enumerate(zip(wanted, made, strict=True)):
        counts = ledger[source]
        if abs(asked - share) > NEAR or not counts.used:
            yield (
                f"data.mixture: {counts.source} has {share:.1%} of the {UNITS[mixture.by]}, and "
                f"{asked:.1%} was asked: of the few and whole rows that are drawn none come "
                f"nearer{more}"
            )


def write(store: TokenStore, times: np.ndarray, path: Path) -> Iterator[int]:
    """Writes the rows that are drawn to ``path``; yields after each, for who watches."""
    with TokenWriter(path, store.labelled) as writer:
        for index in range(len(store)):
            cut = int(store.truncated[index])
            if store.labelled:
                tokens: Tokens = replace(store.encoded(index), truncated=cut)
            else:
                tokens = Tokens(*store[index], truncated=cut)  # type: ignore[arg-type]
            for _ in range(int(times[index])):
                writer.add(tokens, int(store.sources[index]), int(store.rows[index]))
            yield writer.rows
