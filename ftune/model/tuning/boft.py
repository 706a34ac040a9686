"""BOFT: orthogonal blocks and a scale for each output, trained on top of frozen weights.

Liu et al. 2023, https://arxiv.org/abs/2311.06243; through PEFT, with one butterfly factor: more of
them would need a CUDA extension to be built while a run starts.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``BOFTConfig``."""

    boft_block_size: Annotated[int, Field(ge=2)] = 4
    """Width of a block; larger ones train more. It has to divide the width of the layers."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Which layers: ``all-linear`` (all but the head), a list of names, or a regular expression."""
    boft_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the blocks that are left unturned in a training step."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with BOFT layers; only their blocks and scales are trained.

    Raises:
        ModelError: a target matches nothing, a width can't be divided, PEFT can't do this on this
            base, or tokens are added.
    """
    from peft import BOFTConfig

    from ftune.model import attaching, widths

    attaching.refuse_added_tokens(tokenizer, "boft")
    chosen = attaching.targets(model, config.target_modules)
    widths.check_blocks(model, config.target_modules, config.boft_block_size, "boft_block_size")
    settings = BOFTConfig(
        boft_block_size=config.boft_block_size,
        target_modules=chosen,
        boft_dropout=config.boft_dropout,
    )
    return attaching.attach(model, settings)
