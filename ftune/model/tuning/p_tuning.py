"""P-tuning: trained vectors before every input, made by a small MLP or LSTM.

Liu et al. 2021, https://arxiv.org/abs/2103.10385; through PEFT. Saved without the net.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``PromptEncoderConfig``."""

    num_virtual_tokens: Annotated[int, Field(ge=1)] = 20
    """How many vectors; each takes a place of the context."""
    encoder_reparameterization_type: Literal["MLP", "LSTM"] = "MLP"
    """The net that makes them."""
    encoder_hidden_size: Annotated[int, Field(ge=1)] | None = None
    """Its width; null takes that of the model."""
    encoder_num_layers: Annotated[int, Field(ge=1)] = 2
    """Layers of the LSTM (an MLP has two)."""
    encoder_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Dropout between the layers of the LSTM."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with trained vectors of its hidden size and their net, in float32.

    Raises:
        ModelError: the recipe adds tokens, which only weights can learn.
    """
    from peft import PromptEncoderConfig

    from ftune.model import attaching

    attaching.refuse_added_tokens(tokenizer, "p_tuning")
    settings = PromptEncoderConfig(
        num_virtual_tokens=config.num_virtual_tokens,
        encoder_reparameterization_type=config.encoder_reparameterization_type,
        encoder_hidden_size=config.encoder_hidden_size,  # type: ignore[arg-type]
        encoder_num_layers=config.encoder_num_layers,
        encoder_dropout=config.encoder_dropout,
    )
    return attaching.attach(model, settings)
