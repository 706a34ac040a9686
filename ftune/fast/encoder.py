"""Encoders as BERT, RoBERTa and DistilBERT have them: blocks without padding, and the last one.

In training a batch goes through the blocks as one line of tokens (``Rows``). Where only the first
token of a text is read behind the last block, as the heads of classifiers do, that block is not
computed for the others: they give keys and values alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from ftune.fast.attention import Attention
from ftune.fast.recompute import blocks
from ftune.fast.rows import Rows

# How the products of an attention are called, and one behind it where it is part of the module.
NAMES = (("query", "key", "value", None), ("q_lin", "k_lin", "v_lin", "out_lin"))

# What a call may ask for that is not done here.
ASKED = (
    "encoder_hidden_states",
    "encoder_attention_mask",
    "past_key_values",
    "position_bias",
    "output_attentions",
    "output_hidden_states",
    "is_causal",
)


@dataclass
class Line:
    """Whether batches go through a model's blocks as a line, and what its last block gives."""

    always: bool = False  # not in training alone, to try it
    first: bool = False  # the last block gives each row's first token


def unpadded(model: Any) -> bool:
    """Whether a model's blocks are of a shape that is trained without padding."""
    return stack_of(blocks(model), model) is not None


def stack_of(found: list[Any], model: Any) -> Any | None:
    """The module that calls these blocks one after another, if they are an encoder's."""
    if not found or not all(any(_looks(m) for m in block.modules()) for block in found):
        return None
    for module in model.modules():
        for child in module.children():
            if type(child) is torch.nn.ModuleList and list(child) == found:
                return module
    return None


def _looks(module: Any) -> bool:
    return known(module) and module.config._attn_implementation == "sdpa"


def without_padding(stack: Any, line: Line) -> Callable[..., Any]:
    """A forward for the module that calls the blocks, which hands them a line and no padding.

    What it gives is (rows, length, hidden) again, with zeros at padding.
    """
    own = stack.forward

    def forward(
        hidden_states: torch.Tensor, attention_mask: Any = None, *more: Any, **options: Any
    ) -> Any:
        wanted = (stack.training or line.always) and _fits(attention_mask, more, options)
        real = _real(hidden_states, attention_mask) if wanted else None
        if real is None:
            return own(hidden_states, attention_mask, *more, **options)
        rows = Rows.of(real)
        out = own(rows.line(hidden_states), rows, *more, **options)
        back = rows.batch_of_firsts if line.first else rows.batch
        return replace(out, last_hidden_state=back(out.last_hidden_state))

    return forward


@contextmanager
def tried(line: Line) -> Iterator[None]:
    """While inside, batches go as a line outside of a training too."""
    line.always = True
    try:
        yield
    finally:
        line.always = False


def attention_of(module: Any) -> Callable[..., Any] | None:
    """A forward for an encoder's attention that takes ``Rows``; None for any other.

    The caller compares ``both``.
    """
    if not _looks(module):
        return None
    own = module.forward

    def forward(
        hidden: torch.Tensor, attention_mask: Any = None, *more: Any, **options: Any
    ) -> Any:
        if not isinstance(attention_mask, Rows):
            return own(hidden, attention_mask, *more, **options)
        return _attend(module, hidden, hidden, attention_mask), None

    return forward


def both(module: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Its own attention and this one, on lines of which one is padded, without dropout."""

    def real(x: torch.Tensor) -> torch.Tensor:
        seen = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        seen[-1, -1] = False
        return seen

    own = module.forward

    def plain(x: torch.Tensor) -> torch.Tensor:
        seen = real(x)
        padded = own(x, seen[:, None, None].expand(-1, 1, x.shape[1], -1))[0]
        return padded * seen[:, :, None] + own(x)[0] + padded[:, :1]

    def this(x: torch.Tensor) -> torch.Tensor:
        seen = real(x)
        padded, even = Rows.of(seen), Rows.of(torch.ones_like(seen))
        line, whole = padded.line(x), even.line(x)
        first = _attend(module, line[:, padded.firsts], line, padded)
        return (
            padded.batch(_attend(module, line, line, padded))
            + even.batch(_attend(module, whole, whole, even))
            + padded.batch_of_firsts(first)
        )

    return plain, this


def first_of(block: Any) -> Callable[..., Any] | None:
    """A forward for a block that gives each row's first token alone: of a line (1, rows, hidden),
    else (rows, 1, hidden).

    The caller makes sure that no other is read (``trials.reads_the_first``).
    """
    attention: Any = next((m for m in block.modules() if known(m)), None)
    rest = _rest(block)
    if attention is None or rest is None or attention.config._attn_implementation != "sdpa":
        return None
    own = block.forward

    def forward(
        hidden: torch.Tensor, attention_mask: Any = None, *more: Any, **options: Any
    ) -> Any:
        if isinstance(attention_mask, Rows):
            first = hidden[:, attention_mask.firsts]
            return rest(_attend(attention, first, hidden, attention_mask), first)
        if not _fits(attention_mask, more, options):
            return own(hidden, attention_mask, *more, **options)
        mask = None if attention_mask is None else attention_mask[:, :, :1]
        first = hidden[:, :1]
        return rest(_padded(attention, first, hidden, mask), first)

    return forward


def known(module: Any) -> bool:
    """Whether it has the parts of an attention that looks both ways within one text."""
    return (
        _names(module) is not None
        and "CrossAttention" not in type(module).__name__
        and isinstance(getattr(module, "scaling", None), float)
        and isinstance(getattr(module, "attention_head_size", None), int)
        and type(getattr(module, "dropout", None)) is torch.nn.Dropout
        and not getattr(module, "is_causal", True)
    )


def width(module: Any) -> int:
    """Of an attention's input."""
    names = _names(module)
    first = getattr(module, names[0] or "") if names else None
    return int(getattr(first, "in_features", 0))


def _names(module: Any) -> tuple[str | None, ...] | None:
    return next((n for n in NAMES if all(hasattr(module, x) for x in n if x)), None)


def _real(hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor | None:
    """(rows, length), true for a token; None where a mask says more, or hides a first token."""
    if mask is None:
        return torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
    seen = mask if mask.dtype == torch.bool else mask == 0
    real = seen[:, 0, 0]
    alike = seen.shape[2] == 1 or seen.stride(2) == 0 or bool((seen == real[:, None, None]).all())
    return real if alike and bool(real[:, 0].all()) else None


def _fits(mask: Any, more: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether a call asks for nothing but attention within these lines."""
    if mask is not None and not (isinstance(mask, torch.Tensor) and mask.dim() == 4):
        return False
    return all(x is None for x in more) and not any(
        options.get(name) is not None and options[name] is not False for name in ASKED
    )


def _attend(module: Any, asking: torch.Tensor, line: torch.Tensor, rows: Rows) -> torch.Tensor:
    """What ``asking`` (1, asked, hidden), all or the firsts, gets of ``line``, (1, tokens, hidden)
    too."""
    q, k, v = (x[0] for x in _products(module, asking, line))
    p = module.dropout.p if module.training else 0.0
    if q.dtype == torch.float32 and q.device.type == "cpu":
        out = Attention.apply(q, k, v, rows, p, module.scaling)
    else:
        out = _by_torch(q, k, v, rows, p, module.scaling)
    return _behind(module, out.reshape(*asking.shape[:2], -1))


def _by_torch(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: Rows, p: float, scale: float
) -> torch.Tensor:
    """As ``Attention``, by torch's own kernel, padded."""
    (tile,) = rows.tiles(len(rows.lengths) * rows.lengths[0] ** 2)
    first = len(q) != len(k)
    asking = q.unsqueeze(1) if first else tile.lines(q)
    lines = (asking, tile.lines(k), tile.lines(v))
    out = _kernel(lines, tile.mask, p, scale)
    return out[:, 0] if first else tile.tokens_of(out)


def _kernel(
    lines: Iterable[torch.Tensor], mask: torch.Tensor | None, p: float, scale: float
) -> torch.Tensor:
    """torch's attention of q, k and v (rows, length, heads, width) -> as q."""
    q, k, v = (x.transpose(1, 2) for x in lines)
    return torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=p, scale=scale
    ).transpose(1, 2)


def _padded(
    module: Any, asking: torch.Tensor, hidden: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """What ``asking`` (rows, asked, hidden) gets of ``hidden`` (rows, length, hidden)."""
    p = module.dropout.p if module.training else 0.0
    out = _kernel(_products(module, asking, hidden), mask, p, module.scaling)
    return _behind(module, out.reshape(*asking.shape[:2], -1))


def _products(module: Any, asking: torch.Tensor, hidden: torch.Tensor) -> Iterator[torch.Tensor]:
    """q, k and v: (..., heads, width)."""
    names = _names(module)
    assert names is not None
    for name, x in zip(names[:3], (asking, hidden, hidden), strict=True):
        yield getattr(module, name or "")(x).unflatten(-1, (-1, module.attention_head_size))


def _behind(module: Any, out: torch.Tensor) -> torch.Tensor:
    last = (_names(module) or ())[3]
    return getattr(module, last)(out) if last else out


def _rest(block: Any) -> Callable[..., torch.Tensor] | None:
    """What comes behind the attention: of what it said, and of the block's input."""
    if all(hasattr(block, n) for n in ("attention", "intermediate", "output")):
        if not hasattr(block.attention, "output") or hasattr(block, "crossattention"):
            return None

        def bert(said: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
            out = block.attention.output(said, hidden)
            return block.output(block.intermediate(out), out)

        return bert
    if all(hasattr(block, n) for n in ("sa_layer_norm", "ffn", "output_layer_norm")):

        def distilbert(said: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
            out = block.sa_layer_norm(said + hidden)
            return block.output_layer_norm(block.ffn(out) + out)

        return distilbert
    return None
