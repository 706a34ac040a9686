"""VeRA: fixed random matrices that all layers share, and two trained vectors for each layer.

Kopiczko et al. 2023, https://arxiv.org/abs/2310.11454; through PEFT.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``VeraConfig``."""

    r: Annotated[int, Field(ge=1)] = 256
    """Rank of the shared matrices; far higher than LoRA's, since only vectors are trained."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Which layers: ``all-linear`` (all but the head), a list of names, or a regular expression."""
    vera_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of their inputs that is dropped in training."""
    d_initial: Annotated[float, Field(gt=0.0)] = 0.1
    """What the vector between the two matrices starts with."""
    save_projection: bool = True
    """Save the shared matrices too: larger, but safe on every system. Without, they are drawn
    again when the adapter is loaded."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with VeRA layers; only their vectors are trained.

    Raises:
        ModelError: a target matches nothing, PEFT can't do this on this base, or tokens are added.
    """
    from peft import VeraConfig

    from ftune.model import attaching
    from ftune.model.quiet import quiet

    attaching.refuse_added_tokens(tokenizer, "vera")
    with quiet():  # it advises to save the projection
        settings = VeraConfig(
            r=config.r,
            target_modules=attaching.targets(model, config.target_modules),
            vera_dropout=config.vera_dropout,
            d_initial=config.d_initial,
            save_projection=config.save_projection,
        )
    return attaching.attach(model, settings)
