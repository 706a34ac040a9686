"""Prefix tuning: trained keys and values before every input, in every layer, made by a small net.

Li and Liang 2021, https://arxiv.org/abs/2101.00190; through PEFT. Saved without the net.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``PrefixTuningConfig`` with ``prefix_projection``."""

    num_virtual_tokens: Annotated[int, Field(ge=1)] = 20
    """How many; each takes a place of the context."""
    encoder_hidden_size: Annotated[int, Field(ge=1)] | None = None
    """Width of the net that makes them; null takes that of the keys."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with a prefix and its net, in float32.

    Raises:
        ModelError: the recipe adds tokens, or the architecture takes no prefix.
    """
    from peft import PrefixTuningConfig

    from ftune.model import attaching, virtual

    attaching.refuse_added_tokens(tokenizer, "prefix_tuning")
    settings = PrefixTuningConfig(
        num_virtual_tokens=config.num_virtual_tokens,
        encoder_hidden_size=config.encoder_hidden_size,  # type: ignore[arg-type]
        prefix_projection=True,
    )
    return virtual.checked(attaching.attach(model, settings), "prefix_tuning")
