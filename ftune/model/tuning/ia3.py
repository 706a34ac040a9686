"""IA3: keys, values and feed-forward activations are scaled by trained vectors.

Liu et al. 2022, https://arxiv.org/abs/2205.05638; through PEFT.
"""

from __future__ import annotations

from typing import Any

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``IA3Config``."""

    target_modules: str | tuple[str, ...] | None = None
    """Which layers: a list of names, a regular expression, or ``all-linear``; null takes those of
    the paper, where PEFT knows the architecture."""
    feedforward_modules: tuple[str, ...] | None = None
    """Those of them whose input is scaled instead of their output; null as above."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with one trained vector for each target.

    Raises:
        ModelError: a target matches nothing, the architecture is not known, PEFT can't do this on
            this base, or tokens are added.
    """
    from peft import IA3Config

    from ftune.errors import ModelError
    from ftune.model import attaching

    attaching.refuse_added_tokens(tokenizer, "ia3")
    chosen = feedforward = None
    if config.target_modules is not None:
        chosen = attaching.targets(model, config.target_modules)
        feedforward = []
    if config.feedforward_modules:
        feedforward = attaching.targets(
            model, config.feedforward_modules, "tune.feedforward_modules"
        )
        if isinstance(chosen, list) and not set(feedforward) <= set(chosen):
            raise ModelError("tune.feedforward_modules: name only layers of target_modules")
    try:
        settings = IA3Config(target_modules=chosen, feedforward_modules=feedforward)
        return attaching.attach(model, settings)
    except ModelError as error:
        if chosen is not None:
            raise
        raise ModelError(
            f"tune.target_modules: {error}; name the layers of keys, values and feed-forward, out "
            f"of: {', '.join(attaching.linear_names(model))}"
        ) from error
