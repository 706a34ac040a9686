"""Only the output head is trained; what is saved is the head alone."""

from __future__ import annotations

from typing import Any

from ftune.recipe.base import Section


class Config(Section):
    """The head has no keys of its own."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:  # noqa: ARG001
    """``model`` itself, with gradients for its head, which gets weights of its own where it shares
    those of the embedding.

    Raises:
        ModelError: it has no head, or the recipe adds tokens.
    """
    from ftune.errors import ModelError
    from ftune.model import attaching, heads, selecting

    attaching.refuse_added_tokens(tokenizer, "head")
    if heads.head_modules(model):
        return selecting.train_only(model, (), "head")
    head = model.get_output_embeddings()
    if head is None:
        raise ModelError(f"tune.method: {type(model).__name__} has no output head to train")
    selecting.untie_head(model)
    own = {id(parameter) for parameter in head.parameters()}
    names = [name for name, parameter in model.named_parameters() if id(parameter) in own]
    return selecting.train_only(model, names, "head")
