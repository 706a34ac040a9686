"""OFT: the inputs of layers are turned by trained orthogonal matrices, block by block.

Qiu et al. 2023, https://arxiv.org/abs/2306.07280; through PEFT.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``OFTConfig``; its ``module_dropout`` is read by nobody in PEFT 0.21."""

    oft_block_size: Annotated[int, Field(ge=2)] = 32
    """Width of a block; larger ones train more. It has to divide the width of the layers."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Which layers: ``all-linear`` (all but the head), a list of names, or a regular expression."""
    block_share: bool = False
    """One block for all places of a layer."""
    coft: bool = False
    """Keep each block near the identity, within ``eps``."""
    eps: Annotated[float, Field(gt=0.0)] = 6e-5
    """How far it may turn (coft only)."""
    use_cayley_neumann: bool = True
    """Approximate the orthogonal matrix by a short series: faster; false inverts a matrix."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with OFT layers; only their blocks are trained.

    Raises:
        ModelError: a target matches nothing, a width can't be divided, PEFT can't do this on this
            base, or tokens are added.
    """
    from peft import OFTConfig

    from ftune.model import attaching, widths

    attaching.refuse_added_tokens(tokenizer, "oft")
    chosen = attaching.targets(model, config.target_modules)
    widths.check_blocks(model, config.target_modules, config.oft_block_size, "oft_block_size")
    settings = OFTConfig(
        oft_block_size=config.oft_block_size,
        target_modules=chosen,
        block_share=config.block_share,
        coft=config.coft,
        eps=config.eps,
        use_cayley_neumann=config.use_cayley_neumann,
    )
    return attaching.attach(model, settings)
