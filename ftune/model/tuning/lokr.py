"""LoKr: the Kronecker product of a small matrix and a low-rank one, beside the frozen weights.

Edalati et al. 2022, https://arxiv.org/abs/2212.10650 (KronA); Yeh et al. 2023,
https://arxiv.org/abs/2309.14859; through PEFT.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``LoKrConfig``."""

    r: Annotated[int, Field(ge=1)] = 8
    """Rank of the larger factor, which is whole where it is no larger than that."""
    alpha: Annotated[int, Field(ge=1)] = 8
    """The product is scaled by ``alpha / r``."""
    rank_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the rows of the added matrix that is dropped in training."""
    decompose_both: bool = False
    """Of low rank both factors, not the larger one alone."""
    decompose_factor: Annotated[int, Field(ge=-1)] = -1
    """Width of the smaller factor; -1 takes what comes nearest to a square."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Which layers: ``all-linear`` (all but the head), a list of names, or a regular expression."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with LoKr layers; only their factors are trained.

    Raises:
        ModelError: a target matches nothing, the base is quantized, or tokens are added.
    """
    from peft import LoKrConfig

    from ftune.model import attaching

    attaching.refuse_added_tokens(tokenizer, "lokr")
    attaching.refuse_quantized(model, "lokr", (4,))
    settings = LoKrConfig(
        r=config.r,
        alpha=config.alpha,
        rank_dropout=config.rank_dropout,
        decompose_both=config.decompose_both,
        decompose_factor=config.decompose_factor,
        target_modules=attaching.targets(model, config.target_modules),
    )
    return attaching.attach(model, settings)
