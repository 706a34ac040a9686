"""Some layers are trained and all others frozen; what is saved is the trained ones alone.

They are named by number, as the last n, or by a pattern; what any of the keys names is trained.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Which layers are trained."""

    last_layers: Annotated[int, Field(ge=0)] = 1
    """So many of the last transformer layers, beside those that the other keys name; write 0 for
    these alone."""
    layers: tuple[int, ...] = ()
    """Layers by their numbers, from 0; -1 is the last one. An encoder's come before its decoder's.
    """
    pattern: str = ""
    """A regular expression for names of parameters, such as ``.*(norm|lm_head).*``."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` itself, with gradients for the chosen parameters.

    Raises:
        ModelError: a number or the pattern names nothing, a chosen weight is quantized, or the
            recipe adds tokens whose embeddings are not among the chosen.
    """
    from ftune.model import attaching, selecting

    names = selecting.of_layers(model, config.last_layers, config.layers)
    names += selecting.of_pattern(model, config.pattern)
    embedding = model.get_input_embeddings().weight
    if not any(p is embedding for n, p in model.named_parameters() if n in set(names)):
        attaching.refuse_added_tokens(tokenizer, "freeze without the embeddings in its pattern")
    return selecting.train_only(model, names, "freeze")
