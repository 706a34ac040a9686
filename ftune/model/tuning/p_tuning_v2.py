"""P-tuning v2: trained keys and values before every input, in every layer (deep prompts).

Liu et al. 2021, https://arxiv.org/abs/2110.07602; through PEFT's prefix tuning without its net.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``PrefixTuningConfig`` without ``prefix_projection``."""

    num_virtual_tokens: Annotated[int, Field(ge=1)] = 20
    """How many; each takes a place of the context."""
    init_text: str = ""
    """Start from the keys and values of this text, repeated or cut to their number; empty starts
    from those of drawn tokens."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with a trained prefix in float32, which starts as that of real tokens.

    Raises:
        ModelError: the recipe adds tokens, the text has none, or the architecture takes no prefix.
    """
    from peft import PrefixTuningConfig

    from ftune.model import attaching, virtual

    attaching.refuse_added_tokens(tokenizer, "p_tuning_v2")
    ids = virtual.start_ids(model, tokenizer, config.num_virtual_tokens, config.init_text)
    settings = PrefixTuningConfig(num_virtual_tokens=config.num_virtual_tokens, init_weights="zero")
    tuned = virtual.checked(attaching.attach(model, settings), "p_tuning_v2")
    virtual.start_from(tuned, ids)
    return tuned
