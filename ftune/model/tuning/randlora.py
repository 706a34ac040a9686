"""RandLoRA: sums of fixed random matrices that all layers share, scaled by trained vectors.

Albert et al. 2025, https://arxiv.org/abs/2502.00987; through PEFT.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``RandLoraConfig``."""

    r: Annotated[int, Field(ge=1)] = 32
    """Rank of each random matrix; there are as many as make up the full rank, so that a smaller
    rank trains more."""
    randlora_alpha: Annotated[int, Field(ge=1)] = 640
    """The sum is scaled by ``randlora_alpha / r``."""
    randlora_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of their inputs that is dropped in training."""
    sparse: bool = False
    """Random matrices of -1, 0 and 1, of which most numbers are 0."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Which layers: ``all-linear`` (all but the head), a list of names, or a regular expression."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with RandLoRA layers; only their scales are trained.

    Raises:
        ModelError: a target matches nothing, PEFT can't do this on this base, or tokens are added.
    """
    from peft import RandLoraConfig

    from ftune.model import attaching

    attaching.refuse_added_tokens(tokenizer, "randlora")
    settings = RandLoraConfig(
        r=config.r,
        randlora_alpha=config.randlora_alpha,
        randlora_dropout=config.randlora_dropout,
        sparse=config.sparse,
        target_modules=attaching.targets(model, config.target_modules),
    )
    return attaching.attach(model, settings)
