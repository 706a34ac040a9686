"""RoAd: pairs of outputs of each layer are turned and scaled.

Liao and Monz 2024, https://arxiv.org/abs/2409.00119; through PEFT.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``RoadConfig``."""

    variant: Literal["road_1", "road_2", "road_4"] = "road_1"
    """One angle and scale for a pair, one for each of its numbers, or two for each."""
    group_size: Annotated[int, Field(ge=2)] = 64
    """Pairs are made within so many outputs; it has to divide the widths."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Which layers: ``all-linear`` (all but the head), a list of names, or a regular expression."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with RoAd layers; only angles and scales are trained.

    Raises:
        ModelError: a target matches nothing, PEFT can't do this on this base, or tokens are added.
    """
    from peft import RoadConfig

    from ftune.model import attaching

    attaching.refuse_added_tokens(tokenizer, "road")
    settings = RoadConfig(
        variant=config.variant,
        group_size=config.group_size,
        target_modules=attaching.targets(model, config.target_modules),
    )
    return attaching.attach(model, settings)
