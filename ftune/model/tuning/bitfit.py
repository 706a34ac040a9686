"""BitFit: only the biases are trained.

Ben Zaken et al. 2021, https://arxiv.org/abs/2106.10199; what is saved is the biases alone.
"""

from __future__ import annotations

from typing import Any

from ftune.recipe.base import Section


class Config(Section):
    """BitFit has no keys of its own."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:  # noqa: ARG001
    """``model`` itself, with gradients for its biases, those of norms among them.

    Raises:
        ModelError: it has no biases, or the recipe adds tokens.
    """
    from ftune.errors import ModelError
    from ftune.model import attaching, selecting

    attaching.refuse_added_tokens(tokenizer, "bitfit")
    names = [n for n, _ in model.named_parameters() if n.rpartition(".")[2] == "bias"]
    if not names:
        raise ModelError(
            f"tune.method: bitfit trains biases, and {type(model).__name__} has none here (models "
            "like Llama and Mistral come without); take layernorm or ia3, which are as small"
        )
    return selecting.train_only(model, names, "bitfit")
