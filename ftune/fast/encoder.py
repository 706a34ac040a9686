"""Blocks of encoders as BERT, RoBERTa and DistilBERT have them: their attention, and the last one.

Where only the first token of a text is read behind the last block, as the heads of classifiers do,
the block need not be computed for the others: they give keys and values alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ftune.fast import drawing
from ftune.fast.attention import Attention

# How the products of an attention are called, and one behind it where it is part of the module.
NAMES = (("query", "key", "value", None), ("q_lin", "k_lin", "v_lin", "out_lin"))

# What a call may ask for that is not done here.
ASKED = (
    "encoder_hidden_states",
    "encoder_attention_mask",
    "past_key_values",
    "position_bias",
    "output_attentions",
    "is_causal",
)


def attention_of(module: Any) -> Callable[..., Any] | None:
    """A forward for an encoder's attention that drops shares in training; None for any other.

    Without dropout torch's own kernel is as good, and is taken. The caller compares ``both``.
    """
    if not known(module) or module.config._attn_implementation != "sdpa":
        return None
    own = module.forward

    def forward(
        hidden: torch.Tensor, attention_mask: torch.Tensor | None = None, *more: Any, **options: Any
    ) -> Any:
        if not (_drops(module, hidden) and _fits(attention_mask, more, options)):
            return own(hidden, attention_mask, *more, **options)
        return _attend(module, hidden, hidden, attention_mask), None

    return forward


def both(module: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Its own attention and this one, on lines of which one is padded, without dropout."""

    def mask(x: torch.Tensor) -> torch.Tensor:
        seen = torch.ones(x.shape[0], 1, x.shape[1], x.shape[1], dtype=torch.bool, device=x.device)
        seen[-1, :, :, -1] = False
        return seen

    own = module.forward
    return (
        lambda x: own(x, mask(x))[0] + own(x)[0],
        lambda x: _attend(module, x, x, mask(x), True) + _attend(module, x, x, None, True),
    )


def first_of(block: Any) -> Callable[..., Any] | None:
    """A forward for a block that gives its output's first position alone: (rows, 1, hidden).

    The caller makes sure that no other is read (``trials.reads_the_first``).
    """
    attention: Any = next((m for m in block.modules() if known(m)), None)
    rest = _rest(block)
    if attention is None or rest is None or attention.config._attn_implementation != "sdpa":
        return None
    own = block.forward

    def forward(
        hidden: torch.Tensor, attention_mask: torch.Tensor | None = None, *more: Any, **options: Any
    ) -> Any:
        if not _fits(attention_mask, more, options):
            return own(hidden, attention_mask, *more, **options)
        mask = None if attention_mask is None else attention_mask[:, :, :1]
        first = hidden[:, :1]
        return rest(_attend(attention, first, hidden, mask), first)

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


def _names(module: Any) -> tuple[str | None, ...] | None:
    return next((n for n in NAMES if all(hasattr(module, x) for x in n if x)), None)


def _drops(module: Any, hidden: torch.Tensor) -> bool:
    return (
        module.training
        and 0.0 < module.dropout.p < 1.0
        and hidden.device.type == "cpu"
        and hidden.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def _fits(mask: Any, more: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether a call asks for nothing but attention within these lines."""
    if mask is not None and not (isinstance(mask, torch.Tensor) and mask.dim() == 4):
        return False
    return all(x is None for x in more) and not any(
        options.get(name) is not None and options[name] is not False for name in ASKED
    )


def _attend(
    module: Any,
    asking: torch.Tensor,
    hidden: torch.Tensor,
    mask: torch.Tensor | None,
    own_kernel: bool = False,
) -> torch.Tensor:
    """What ``asking`` (rows, asked, hidden) gets of ``hidden`` (rows, length, hidden)."""
    names = _names(module)
    assert names is not None
    said = (
        getattr(module, names[0] or "")(asking),
        *(getattr(module, n or "")(hidden) for n in names[1:3]),
    )
    q, k, v = (x.view(len(hidden), x.shape[1], -1, module.attention_head_size) for x in said)
    p = module.dropout.p if module.training else 0.0
    if _drops(module, hidden) or own_kernel:
        kept = drawing.kept((len(q), q.shape[2], q.shape[1], k.shape[1]), p) if p else None
        out = Attention.apply(q, k, v, _bias(mask, q), kept, module.scaling, drawing.share_of(p))
    else:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        out = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=p, scale=module.scaling
        ).transpose(1, 2)
    out = out.reshape(*asking.shape[:2], -1)
    return getattr(module, names[3])(out) if names[3] else out


def _bias(mask: torch.Tensor | None, q: torch.Tensor) -> torch.Tensor | None:
    """What is added to the products of hidden places; a line of these alone must give numbers."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    lowest = torch.finfo(q.dtype).min
    if mask.stride(2) == 0 or mask.shape[2] == 1:
        mask = mask[:, :, :1]
    return torch.zeros(mask.shape, dtype=q.dtype).masked_fill_(~mask, lowest)


def width(module: Any) -> int:
    names = _names(module)
    first = getattr(module, names[0] or "") if names else None
    return int(getattr(first, "in_features", 0))


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
