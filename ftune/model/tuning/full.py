"""Full fine-tuning: every parameter of the model is trained."""

from __future__ import annotations

from typing import Any

from ftune.recipe.base import Section


class Config(Section):
    """Full fine-tuning has no keys of its own."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:  # noqa: ARG001
    """``model`` itself, with gradients for all parameters; added tokens are among them.

    Raises:
        ModelError: the base is quantized: its weights are no numbers that a step could change.
    """
    from ftune.errors import ModelError
    from ftune.model.attaching import quantized_bits

    if bits := quantized_bits(model):
        raise ModelError(
            f"tune.method: full can't train a base that is kept in {bits} bits: leave out "
            "model.quantization, or take qlora (4 bits) or lora"
        )
    return model.requires_grad_(True)
