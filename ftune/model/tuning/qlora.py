"""QLoRA: LoRA on a base that is kept in 4 bits.

Dettmers et al. 2023, https://arxiv.org/abs/2305.14314; bitsandbytes and PEFT.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ftune.model.tuning import lora


class Config(lora.Config):
    """The keys of ``lora``; the base's quantization stands under ``model.quantization``."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with LoRA layers in float32 on its 4-bit layers.

    Norms and embeddings stay in the model's dtype: float32 on a CPU; on a GPU bfloat16, whose
    range is that of float32. In float16 they overflow, so that is refused.

    Raises:
        ModelError: the base is not in 4 bits, or is in float16.
    """
    import torch

    from ftune.errors import ModelError
    from ftune.model.attaching import quantized_bits

    if quantized_bits(model) != 4:
        raise ModelError(
            "tune.method: qlora needs a 4-bit base: set model.quantization.load_in_4bit to true, "
            "or take lora"
        )
    if model.get_input_embeddings().weight.dtype == torch.float16:
        raise ModelError("model.dtype: float16 overflows in training; take auto or bfloat16")
    return lora.attach(model, config, tokenizer)


def parameter_groups(model: Any, config: Config, settings: Any) -> list[dict[str, Any]] | None:
    """As for ``lora``."""
    return lora.parameter_groups(model, config, settings)


def chooses(config: Config) -> bool:
    """As for ``lora``."""
    return lora.chooses(config)


def sample(config: Config) -> tuple[int, int]:
    """As for ``lora``."""
    return lora.sample(config)


def choose(model: Any, config: Config, batches: Iterable[Any]) -> dict[str, Any]:
    """As for ``lora``."""
    return lora.choose(model, config, batches)


def take(model: Any, config: Config, found: Mapping[str, Any]) -> None:
    """As for ``lora``."""
    lora.take(model, config, found)
