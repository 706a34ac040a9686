"""A tiny Llama with biases, and trained parts on it, whose numbers are drawn."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ftune import registry
from ftune.model import adapters
from ftune.model.loading import Loaded, load_model, load_tokenizer
from ftune.model.resolve import ASSETS
from ftune.recipe.schema import Model


def make_base(folder: Path) -> Path:
    """The model, random, with the tokenizer of ftune:tiny."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64,
        bos_token_id=0, eos_token_id=1, pad_token_id=2, tie_word_embeddings=True,
        initializer_range=0.3, attention_bias=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(ASSETS / "tiny" / name, folder / name)
    return folder


def base(folder: Path, **keys: Any) -> Loaded:
    """The model in ``folder``, read anew; ``keys`` are of the recipe's model section."""
    model = Model.model_validate({"name_or_path": str(folder), "device": "cpu", **keys})
    return load_model(model, load_tokenizer(model))


def made(
    loaded: Loaded, folder: Path, method: str, spread: float, keys: dict[str, Any], seed: int = 0
) -> None:
    """Saves what a method trains, each number moved by a normal one times ``spread``."""
    import torch

    extension = registry.METHODS.load(method)
    tuned = extension.attach(loaded.model, extension.Config(**keys), loaded.tokenizer)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
    tokenizer = loaded.tokenizer
    adapters.save(tuned, folder, base=loaded.identity, tokenizer=tokenizer, method=method)
