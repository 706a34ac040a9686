"""FourierFT: a few frequencies of the change of each weight, drawn once, are trained.

Gao et al. 2024, https://arxiv.org/abs/2405.03003; through PEFT.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``FourierFTConfig``."""

    n_frequency: Annotated[int, Field(ge=1)] = 1000
    """How many for each weight; at most as many as it has numbers."""
    scaling: Annotated[float, Field(gt=0.0)] = 150.0
    """What the change is multiplied by."""
    init_weights: bool = False
    """Start at 0 (no change at first) instead of with drawn numbers."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Which layers: ``all-linear`` (all but the head), a list of names, or a regular expression."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with FourierFT layers; only their frequencies are trained.

    Raises:
        ModelError: a target matches nothing or has too few numbers, PEFT can't do this on this
            base, or tokens are added.
    """
    from peft import FourierFTConfig

    from ftune.model import attaching

    attaching.refuse_added_tokens(tokenizer, "fourierft")
    settings = FourierFTConfig(
        n_frequency=config.n_frequency,
        scaling=config.scaling,
        init_weights=config.init_weights,
        target_modules=attaching.targets(model, config.target_modules),
    )
    return attaching.attach(model, settings)
