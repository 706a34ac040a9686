"""LayerNorm tuning: only the scales (and shifts) of the normalization layers are trained.

Zhao et al. 2023, https://arxiv.org/abs/2312.11420; through PEFT.
"""

from __future__ import annotations

from typing import Any

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``LNTuningConfig``."""

    target_modules: str | tuple[str, ...] = "all-norms"
    """Which layers: ``all-norms``, a list of names, or a regular expression."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with a trained copy of each normalization layer.

    Raises:
        ModelError: a target matches nothing, the model has no such layers, or tokens are added.
    """
    from peft import LNTuningConfig

    from ftune.errors import ModelError
    from ftune.model import attaching

    attaching.refuse_added_tokens(tokenizer, "layernorm")
    if config.target_modules == "all-norms":
        # Plain layers only: a block may be called after its norm, and has other parts inside.
        named = [
            name
            for name, module in model.named_modules()
            if "norm" in type(module).__name__.lower()
            and not list(module.children())
            and any(True for _ in module.parameters())
        ]
        if not named:
            raise ModelError(
                f"tune.method: layernorm finds no normalization layer with weights in "
                f"{type(model).__name__}; name the layers with tune.target_modules"
            )
        return attaching.attach(model, LNTuningConfig(target_modules=named))
    chosen = attaching.targets(model, config.target_modules)
    return attaching.attach(model, LNTuningConfig(target_modules=chosen))
