"""HRA: the inputs of layers are mirrored a few times, at planes that are trained.

Yuan et al. 2024, https://arxiv.org/abs/2405.17484; through PEFT.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``HRAConfig``."""

    r: Annotated[int, Field(ge=1)] = 8
    """How many mirrors; an even number changes nothing at first."""
    apply_GS: bool = False  # noqa: N815 (PEFT's name)
    """Make the mirrors orthogonal to each other (Gram-Schmidt)."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Which layers: ``all-linear`` (all but the head), a list of names, or a regular expression."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with HRA layers; only their mirrors are trained.

    Raises:
        ModelError: a target matches nothing, the base is quantized, or tokens are added.
    """
    from peft import HRAConfig

    from ftune.model import attaching

    attaching.refuse_added_tokens(tokenizer, "hra")
    attaching.refuse_quantized(model, "hra", (4, 8))
    settings = HRAConfig(
        r=config.r,
        apply_GS=config.apply_GS,
        target_modules=attaching.targets(model, config.target_modules),
    )
    return attaching.attach(model, settings)
