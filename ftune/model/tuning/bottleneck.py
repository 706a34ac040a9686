"""Bottleneck adapters: small nets behind attention and feed-forward, the model frozen.

Houlsby et al. 2019, https://arxiv.org/abs/1902.00751; Pfeiffer et al. 2020,
https://arxiv.org/abs/2005.00247, behind feed-forward only.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """The adapters' shape, and where they stand."""

    size: Annotated[int, Field(ge=1)] = 64
    """Width of the narrow layer."""
    variant: Literal["houlsby", "pfeiffer"] = "houlsby"
    """Behind attention and feed-forward, or behind feed-forward only."""
    activation: Literal["relu", "gelu", "silu"] = "gelu"
    """What stands between the two layers."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` itself with adapters, in float32, that change nothing at first.

    Raises:
        ModelError: the model has no layers that they could stand behind, or the recipe adds tokens.
    """
    from ftune.model import attaching, bottleneck, selecting

    attaching.refuse_added_tokens(tokenizer, "bottleneck")
    bottleneck.insert(model, config.size, config.activation, config.variant)
    return selecting.train_only(model, bottleneck.names(model), "bottleneck")
