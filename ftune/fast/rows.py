"""The rows of a batch in one line of tokens, without their padding.

All that a block of an encoder does but attention is done of each token by itself, so that padding
need not be there. Attention takes a few rows of like length at once (a ``Tile``), which are padded
to the longest of them. Zhai et al. 2022 do so, https://arxiv.org/abs/2210.03052.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Tile:
    """Rows whose attention is computed at once.

    ``rows`` and ``tokens`` say which of the line they are. Where they are not all ``length`` tokens
    long, ``take`` (count x length) says for each place which of the tile's tokens stands there, and
    ``real`` (tokens) at which place each token stands.
    """

    rows: slice
    tokens: slice
    count: int
    length: int
    take: torch.Tensor | None = None
    real: torch.Tensor | None = None
    mask: torch.Tensor | None = None  # (count, 1, 1, length), true for a token

    def lines(self, x: torch.Tensor) -> torch.Tensor:
        """(all tokens, ...) -> (count, length, ...); at padding stands another token."""
        own = x[self.tokens]
        if self.take is not None:
            own = own.index_select(0, self.take)
        return own.view(self.count, self.length, *x.shape[1:])

    def tokens_of(self, lines: torch.Tensor) -> torch.Tensor:
        """(count, length, ...) -> (the tile's tokens, ...)."""
        flat = lines.reshape(-1, *lines.shape[2:])
        return flat if self.real is None else flat.index_select(0, self.real)


@dataclass(frozen=True)
class Rows:
    """Where the tokens of a batch stand once padding is left out: rows by length, longest first."""

    shape: tuple[int, int]  # rows and length of the batch with its padding
    lengths: tuple[int, ...]  # in the line's order
    places: torch.Tensor  # (tokens,): of each token in the batch
    order: torch.Tensor  # (rows,): the batch's number of each row
    firsts: torch.Tensor  # (rows,): where in the line each row begins
    made: dict[int, tuple[Tile, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, real: torch.Tensor) -> Rows:
        """``real`` (rows, length) is true for tokens, of which each row has one at least."""
        lengths, order = real.sum(1).sort(descending=True, stable=True)
        inside = real[order].nonzero(as_tuple=True)
        return cls(
            shape=(real.shape[0], real.shape[1]),
            lengths=tuple(lengths.tolist()),
            places=order[inside[0]] * real.shape[1] + inside[1],
            order=order,
            firsts=lengths.cumsum(0) - lengths,
        )

    def line(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, length, width) -> (1, tokens, width)."""
        return hidden.flatten(0, 1).index_select(0, self.places).unsqueeze(0)

    def batch(self, line: torch.Tensor) -> torch.Tensor:
        """(1, tokens, width) -> (rows, length, width), zeros at padding."""
        empty = line.new_zeros(self.shape[0] * self.shape[1], line.shape[2])
        return empty.index_copy(0, self.places, line[0]).view(*self.shape, -1)

    def batch_of_firsts(self, line: torch.Tensor) -> torch.Tensor:
        """(1, rows, width), of each row's first token -> (rows, 1, width)."""
        return torch.empty_like(line[0]).index_copy(0, self.order, line[0]).unsqueeze(1)

    def tiles(self, most: int) -> tuple[Tile, ...]:
        """Rows in turn, as many at once as have together up to ``most`` pairs of tokens.

        A row with more pairs is a tile by itself. All blocks ask for the same ones.
        """
        if most not in self.made:
            self.made[most] = tuple(self._tiles(most))
        return self.made[most]

    def _tiles(self, most: int) -> Iterator[Tile]:
        at = row = 0
        while row < len(self.lengths):
            longest = self.lengths[row]
            count = min(max(1, most // longest**2), len(self.lengths) - row)
            own = self.lengths[row : row + count]
            yield self._tile(slice(row, row + count), slice(at, at + sum(own)), own)
            row, at = row + count, at + sum(own)

    def _tile(self, rows: slice, tokens: slice, lengths: Sequence[int]) -> Tile:
        count, longest = len(lengths), lengths[0]
        if lengths[-1] == longest:
            return Tile(rows, tokens, count, longest)
        along = torch.arange(longest, device=self.places.device)
        each = torch.tensor(lengths, device=self.places.device)
        real = along < each[:, None]
        begins = each.cumsum(0) - each
        take = torch.where(real, begins[:, None] + along, begins[:, None])
        return Tile(
            rows,
            tokens,
            count,
            longest,
            take=take.flatten(),
            real=real.flatten().nonzero()[:, 0],
            mask=real[:, None, None],
        )
