"""MiSS: one small matrix a layer, shared by all shards of its input.

Kang and Yin 2024, https://arxiv.org/abs/2409.15371 (also called Bone); through PEFT.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``MissConfig``; a larger rank trains more."""

    r: Annotated[int, Field(ge=1)] = 64
    """Into how many shards the input is cut: the height of the trained matrix."""
    miss_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of their inputs that is dropped in training."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Which layers: ``all-linear`` (all but the head), a list of names, or a regular expression."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with MiSS layers; only their matrices are trained.

    Raises:
        ModelError: a target matches nothing, PEFT can't do this on this base, or tokens are added.
    """
    from peft import MissConfig

    from ftune.model import attaching

    attaching.refuse_added_tokens(tokenizer, "miss")
    settings = MissConfig(
        r=config.r,
        miss_dropout=config.miss_dropout,
        target_modules=attaching.targets(model, config.target_modules),
    )
    return attaching.attach(model, settings)
