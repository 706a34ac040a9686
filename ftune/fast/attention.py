"""Attention that keeps its inputs and a bit for each dropped number, a few lines at a time.

With dropout torch has no fused kernel on a CPU, and leaves several arrays of rows x heads x length
x length to autograd. Here the shares are made again in the backward pass, as Dao et al. 2022 do
(https://arxiv.org/abs/2205.14135), for as many lines at once as stay in the processor's cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

ELEMENTS = 1 << 20  # of the shares of a tile: 4 MB


class Attention(torch.autograd.Function):
    """``dropout(softmax(q k' * scale + bias)) v``, with what is kept given."""

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        bias: torch.Tensor | None,
        kept: torch.Tensor | None,
        scale: float,
        share: float,
    ) -> torch.Tensor:
        """q (rows, asked, heads, width), k and v (rows, length, heads, width) -> as q.

        ``bias`` (rows, 1, asked or 1, length) is added to the products. Of the shares, the
        numbers where ``kept`` (rows, heads, asked, length) is false count nothing, and the sum is
        divided by ``share``.
        """
        ctx.scale, ctx.share = scale, share
        ctx.save_for_backward(q, k, v, bias, kept)
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
        room = _Room(q, k)
        for at in _tiles(q, k):
            shares, _ = _shares(room, q[at], k[at], _of(bias, at), scale)
            if kept is not None:
                shares.mul_(room.mask(kept[at]))
            _heads_back(torch.bmm(shares, _heads(v[at])), out[at])
        return out if kept is None else out.mul_(1.0 / share)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        """Gradients of q, k and v, where asked for."""
        q, k, v, bias, kept = ctx.saved_tensors
        asked = ctx.needs_input_grad[:3]
        to_q, to_k, to_v = (
            torch.empty_like(x, memory_format=torch.contiguous_format) if wanted else None
            for x, wanted in zip((q, k, v), asked, strict=True)
        )
        given = grads[0] if kept is None else grads[0] / ctx.share
        room = _Room(q, k)
        for at in _tiles(q, k):
            shares, scaled = _shares(room, q[at], k[at], _of(bias, at), ctx.scale)
            mask = None if kept is None else room.mask(kept[at])
            to_out = _heads(given[at])
            if to_v is not None:
                dropped = (
                    shares
                    if mask is None
                    else torch.mul(shares, mask, out=room.of(1, shares.shape))
                )
                _heads_back(torch.bmm(dropped.transpose(1, 2), to_out), to_v[at])
            if to_q is None and to_k is None:
                continue
            inner = torch.bmm(to_out, _heads(v[at]).transpose(1, 2), out=room.of(1, shares.shape))
            if mask is not None:
                inner.mul_(mask)
            inner = torch.ops.aten._softmax_backward_data.out(
                inner, shares, -1, shares.dtype, grad_input=room.of(2, shares.shape)
            )
            if to_q is not None:
                _heads_back(torch.bmm(inner, _heads(k[at])).mul_(ctx.scale), to_q[at])
            if to_k is not None:
                _heads_back(torch.bmm(inner.transpose(1, 2), scaled), to_k[at])
        return to_q, to_k, to_v, None, None, None, None


def _tiles(q: torch.Tensor, k: torch.Tensor) -> Iterator[slice]:
    """Lines that are done at once."""
    size = _lines(q, k)
    return (slice(at, at + size) for at in range(0, len(q), size))


def _lines(q: torch.Tensor, k: torch.Tensor) -> int:
    return max(1, ELEMENTS // max(1, q.shape[2] * q.shape[1] * k.shape[1]))


class _Room:
    """Three arrays of a tile's size that all tiles of a call take in turn: new ones of this size
    the C library would ask the kernel for, and clear, each time."""

    def __init__(self, q: torch.Tensor, k: torch.Tensor) -> None:
        lines = _lines(q, k)
        self._of = q.new_empty(3, min(lines, len(q)) * q.shape[2] * q.shape[1] * k.shape[1])

    def of(self, number: int, shape: tuple[int, ...]) -> torch.Tensor:
        """One of the three in this shape."""
        return self._of[number, : math.prod(shape)].view(shape)

    def mask(self, kept: torch.Tensor) -> torch.Tensor:
        """1 where it is kept, else 0, in the third: (lines x heads, asked, length)."""
        flat = kept.reshape(-1, *kept.shape[2:])
        return self.of(2, flat.shape).copy_(flat)


def _shares(
    room: _Room, q: torch.Tensor, k: torch.Tensor, bias: torch.Tensor | None, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The softmax (lines x heads, asked, length), and q times the scale as it was multiplied."""
    scaled, keys = _heads(q) * scale, _heads(k)
    products = torch.bmm(
        scaled, keys.transpose(1, 2), out=room.of(1, (*scaled.shape[:2], keys.shape[1]))
    )
    if bias is not None:
        products.view(len(q), q.shape[2], *products.shape[1:]).add_(bias)
    return torch.softmax(products, -1, out=room.of(0, products.shape)), scaled


def _heads(x: torch.Tensor) -> torch.Tensor:
    """(lines, length, heads, width) -> (lines x heads, length, width)."""
    return x.transpose(1, 2).reshape(-1, x.shape[1], x.shape[3])


def _heads_back(x: torch.Tensor, into: torch.Tensor) -> None:
    """The other way, into a tensor that is there."""
    into.copy_(x.view(len(into), into.shape[2], into.shape[1], into.shape[3]).transpose(1, 2))


def _of(bias: torch.Tensor | None, at: slice) -> torch.Tensor | None:
    if bias is None:
        return None
    return bias[at] if len(bias) > 1 else bias
