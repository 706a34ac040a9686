"""LoHa: the elementwise product of two low-rank matrices, beside the frozen weights.

Hyeon-Woo et al. 2021, https://arxiv.org/abs/2108.06098 (FedPara); through PEFT.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``LoHaConfig``."""

    r: Annotated[int, Field(ge=1)] = 8
    """Rank of each of the two; their product has up to its square."""
    alpha: Annotated[int, Field(ge=1)] = 8
    """The product is scaled by ``alpha / r``."""
    rank_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the rows of the added matrix that is dropped in training."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Which layers: ``all-linear`` (all but the head), a list of names, or a regular expression."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with LoHa layers; only their matrices are trained.

    Raises:
        ModelError: a target matches nothing, the base is quantized, or tokens are added.
    """
    from peft import LoHaConfig

    from ftune.model import attaching

    attaching.refuse_added_tokens(tokenizer, "loha")
    attaching.refuse_quantized(model, "loha", (4,))
    settings = LoHaConfig(
        r=config.r,
        alpha=config.alpha,
        rank_dropout=config.rank_dropout,
        target_modules=attaching.targets(model, config.target_modules),
    )
    return attaching.attach(model, settings)
