"""Attention that keeps its inputs and a byte for each dropped number, a few rows at a time.

With dropout torch has no fused kernel on a CPU, and leaves several arrays of rows x heads x length
x length to autograd. Here the shares are made again in the backward pass, as Dao et al. 2022 do
(https://arxiv.org/abs/2205.14135), for as many rows at once as stay in the processor's cache.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ftune.fast import drawing
from ftune.fast.rows import Rows, Tile

ELEMENTS = 1 << 18  # of the shares of a tile: 1 MB


class Attention(torch.autograd.Function):
    """``dropout(softmax(q k' * scale)) v`` within each row, heads apart."""

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        rows: Rows,
        p: float,
        scale: float,
    ) -> torch.Tensor:
        """k and v (tokens, heads, width), q the same or (rows, heads, width), of each row's first
        token -> as q. ``p`` is the chance of a share to be dropped."""
        tiles = rows.tiles(ELEMENTS // q.shape[1])
        first = len(q) != len(k)
        room = _Room(tiles, q, first)
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
        kept = []
        for tile in tiles:
            asking, keys, values = _of(tile, q, first), tile.lines(k), tile.lines(v)
            shares, _ = _shares(room, tile, asking, keys, scale)
            if p:
                kept.append(drawing.kept(tuple(shares.shape), p))
                shares.mul_(room.mask(kept[-1]))
            _put(tile, torch.bmm(shares, _heads(values)), out, first)
        ctx.tiles, ctx.scale, ctx.share = tiles, scale, drawing.share_of(p)
        ctx.save_for_backward(q, k, v, *kept)
        return out.mul_(1.0 / ctx.share) if p else out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        """Gradients of q, k and v, where asked for."""
        q, k, v, *kept = ctx.saved_tensors
        first = len(q) != len(k)
        to_q, to_k, to_v = (
            torch.empty_like(x, memory_format=torch.contiguous_format) if wanted else None
            for x, wanted in zip((q, k, v), ctx.needs_input_grad, strict=False)
        )
        given = grads[0] / ctx.share if kept else grads[0]
        room = _Room(ctx.tiles, q, first)
        for number, tile in enumerate(ctx.tiles):
            asking, keys, values = _of(tile, q, first), tile.lines(k), tile.lines(v)
            shares, scaled = _shares(room, tile, asking, keys, ctx.scale)
            mask = room.mask(kept[number]) if kept else None
            to_out = _heads(_without_padding(tile, _of(tile, given, first), first))
            if to_v is not None:
                dropped = (
                    shares
                    if mask is None
                    else torch.mul(shares, mask, out=room.of(1, shares.shape))
                )
                _put(tile, torch.bmm(dropped.transpose(1, 2), to_out), to_v)
            if to_q is None and to_k is None:
                continue
            inner = torch.bmm(to_out, _heads(values).transpose(1, 2), out=room.of(1, shares.shape))
            if mask is not None:
                inner.mul_(mask)
            inner = torch.ops.aten._softmax_backward_data.out(
                inner, shares, -1, shares.dtype, grad_input=room.of(2, shares.shape)
            )
            if to_q is not None:
                _put(tile, torch.bmm(inner, _heads(keys)).mul_(ctx.scale), to_q, first)
            if to_k is not None:
                _put(tile, torch.bmm(inner.transpose(1, 2), scaled), to_k)
        return to_q, to_k, to_v, None, None, None


class _Room:
    """Three arrays of a tile's size that all tiles of a call take in turn: new ones of this size
    the C library would ask the kernel for, and clear, each time."""

    def __init__(self, tiles: tuple[Tile, ...], q: torch.Tensor, first: bool) -> None:
        most = max(t.count * t.length * (1 if first else t.length) for t in tiles)
        self._of = q.new_empty(3, most * q.shape[1])

    def of(self, number: int, shape: tuple[int, ...]) -> torch.Tensor:
        """One of the three in this shape."""
        return self._of[number, : math.prod(shape)].view(shape)

    def mask(self, kept: torch.Tensor) -> torch.Tensor:
        """The same as numbers, in the third."""
        return self.of(2, tuple(kept.shape)).copy_(kept)


def _shares(
    room: _Room, tile: Tile, asking: torch.Tensor, keys: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The softmax (lines x heads, asked, length), and q times the scale as it was multiplied."""
    scaled = _heads(asking) * scale
    shape = (len(scaled), asking.shape[1], tile.length)
    products = torch.bmm(scaled, _heads(keys).transpose(1, 2), out=room.of(1, shape))
    if tile.mask is not None:
        each = products.view(tile.count, -1, *shape[1:])
        each.add_(torch.zeros(tile.mask.shape).masked_fill_(~tile.mask, -math.inf))
    return torch.softmax(products, -1, out=room.of(0, shape)), scaled


def _of(tile: Tile, x: torch.Tensor, first: bool) -> torch.Tensor:
    """(count, asked, heads, width) of what stands for each token, or for each row's first."""
    return x[tile.rows].unsqueeze(1) if first else tile.lines(x)


def _without_padding(tile: Tile, given: torch.Tensor, first: bool) -> torch.Tensor:
    """What places of padding ask for counts nothing."""
    if first or tile.mask is None:
        return given
    return given * tile.mask.view(*given.shape[:2], 1, 1)


def _put(tile: Tile, x: torch.Tensor, into: torch.Tensor, first: bool = False) -> None:
    """(lines x heads, asked, width), at its place in (tokens or rows, heads, width)."""
    lines = x.view(tile.count, -1, *x.shape[1:]).transpose(1, 2)
    if first:
        into[tile.rows].copy_(lines[:, 0])
    elif tile.real is None:
        into[tile.tokens].view(lines.shape).copy_(lines)
    else:
        into[tile.tokens].copy_(tile.tokens_of(lines))


def _heads(x: torch.Tensor) -> torch.Tensor:
    """(lines, length, heads, width) -> (lines x heads, length, width)."""
    return x.transpose(1, 2).reshape(-1, x.shape[1], x.shape[3])
