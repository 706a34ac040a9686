"""The last token of each text, where a classifier on a decoder is given embeddings.

Such a head stands on the last token, which transformers finds by its id. Virtual tokens make
embeddings of the ids, and then it would take the last column: padding, in all but the longest text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ftune.errors import ModelError


def embeds(model: Any) -> bool:
    """Whether ``model`` puts trained vectors before the embeddings of its input."""
    config = getattr(model, "active_peft_config", None)
    return (
        config is not None
        and config.is_prompt_learning
        and not model._adapters_disabled
        and config.peft_type != "PREFIX_TUNING"
    )


@contextmanager
def at_last_tokens(model: Any, mask: Any) -> Iterator[None]:
    """While inside, a head on a decoder sees the last token of each line and nothing else.

    ``mask`` is (lines, length), 1 for a token and 0 for the padding behind it. What stands before a
    line makes its hidden states longer, so positions are counted from the right. A model that needs
    none of this is left as it is.
    """
    import torch

    inner = getattr(model, "module", model)  # without what several processes put around it
    head = getattr(inner.get_base_model(), "score", None) if embeds(inner) else None
    if head is None:
        yield
        return

    def select(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden = args[0]
        if hidden.dim() != 3 or hidden.shape[1] < mask.shape[1]:
            raise ModelError(
                f"tune.method: the head of {type(inner.get_base_model()).__name__} reads "
                f"{tuple(hidden.shape)} and not each token's state, so virtual tokens before "
                "padded texts can't be told from them; take lora, or prefix_tuning"
            )
        last = hidden.shape[1] - mask.shape[1] + mask.sum(1).long() - 1
        lines = torch.arange(len(hidden), device=hidden.device)
        return (hidden[lines, last.to(hidden.device)].unsqueeze(1), *args[1:])

    handle = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
