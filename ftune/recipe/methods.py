"""Rules for tuning methods: what each asks of the model, the data and the training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ftune.recipe.places import KeyPath, Problem

# Soft prompts: virtual tokens stand before each line.
VIRTUAL = (
    "prompt_tuning", "prefix_tuning", "p_tuning", "p_tuning_v2", "multitask_prompt_tuning"
)  # fmt: skip
CACHED = ("prefix_tuning", "p_tuning_v2")  # those that are keys and values in a cache
# What computes with weights as they stand, and in how few bits it can't.
PACKED = {"loha": "4 bits", "lokr": "4 bits", "hra": "4 or 8 bits"}
LEARN_TOKENS = ("lora", "qlora", "full", "freeze")  # others leave every embedding as it is
# Trained in the model's own dtype.
OWN_WEIGHTS = ("full", "freeze", "importance", "head", "bitfit", "layernorm")


def quantized(recipe: Any) -> Iterator[Problem]:
    """Which bases a method can stand on."""
    name, settings = recipe.tune.name, recipe.model.quantization
    at = ("tune", "method")
    if name == "qlora" and not (settings and settings.load_in_4bit):
        yield Problem(
            at,
            "tune.method: qlora needs a base in 4 bits; set model.quantization.load_in_4bit: "
            "true, or write method: lora",
        )
    if not settings or not (settings.load_in_4bit or settings.load_in_8bit):
        return
    if name in PACKED and (settings.load_in_4bit or PACKED[name] == "4 or 8 bits"):
        yield Problem(
            at,
            f"tune.method: {name} computes with the weights themselves, and those of a base in "
            f"{PACKED[name]} are packed; remove model.quantization, or write method: lora",
        )
    if name in ("full", "freeze", "importance"):
        which = "every weight" if name == "full" else "weights of the layers"
        yield Problem(
            at,
            f"tune.method: {name} trains {which}, and quantized ones can't be trained; "
            "remove model.quantization, or write method: qlora",
        )


def half_precision(recipe: Any) -> Iterator[Problem]:
    """What fp16 can't hold."""
    name = recipe.tune.name
    if recipe.distributed.mixed_precision != "fp16":
        return
    if name in OWN_WEIGHTS and recipe.model.dtype == "float16":
        yield Problem(
            ("model", "dtype"),
            f"model.dtype: {name} tuning under mixed_precision fp16 keeps its "
            "weights in float32; write dtype: float32",
        )
    if name == "adalora":
        yield Problem(
            ("distributed", "mixed_precision"),
            "distributed.mixed_precision: adalora ranks weights by their gradients, of which fp16 "
            "loses some; write bf16 or no",
        )


def virtual_tokens(recipe: Any) -> Iterator[Problem]:
    """What virtual tokens can't go with."""
    name = recipe.tune.name
    if name in VIRTUAL and recipe.data.packing:
        yield Problem(
            ("data", "packing"),
            f"data.packing: {name} puts its virtual tokens before a line, so packed examples "
            "would have to share them; write packing: false",
        )
    if name in CACHED and recipe.train.gradient_checkpointing:
        yield Problem(
            ("train", "gradient_checkpointing"),
            f"train.gradient_checkpointing: {name} hands its virtual tokens to the layers in a "
            "cache, which a layer that is run twice can't take; write false",
        )
    if name in CACHED and recipe.train.torch_compile:
        yield Problem(
            ("train", "torch_compile"),
            f"train.torch_compile: {name} hands its virtual tokens to the layers in a cache, which "
            "is another one in each layer and can't be compiled once for all; write false",
        )


def added_tokens(recipe: Any) -> Iterator[Problem]:
    """Tokens that a recipe adds have to be learned."""
    name = recipe.tune.name
    if name not in LEARN_TOKENS and recipe.model.add_tokens:
        yield Problem(
            ("model", "add_tokens"),
            f"model.add_tokens: {name} leaves all embeddings as they are, so added tokens "
            "would never be learned; remove them, or write method: lora",
        )


def keys(recipe: Any) -> Iterator[Problem]:
    """Keys of a method that need one another."""
    name, config = recipe.tune.name, recipe.tune.config
    at: KeyPath = ("tune",)
    if name == "adalora" and config.init_r <= config.target_r:
        yield Problem(
            (*at, "init_r"),
            f"tune.init_r: {config.init_r} must be above tune.target_r ({config.target_r}), to "
            "which the ranks fall; raise it, or write method: lora",
        )
    if name == "oft" and not config.coft and config.eps != 6e-5:
        yield Problem(
            (*at, "eps"), "tune.eps has no effect without coft; remove it, or set coft: true"
        )
    if name in ("lora", "qlora") and config.init_lora_weights != "eva":
        for key, default in (("eva_rho", 2.0), ("eva_batches", 16)):
            if getattr(config, key) != default:
                yield Problem(
                    (*at, key),
                    f"tune.{key} has no effect without eva; remove it, or set "
                    "init_lora_weights: eva",
                )
    if name == "p_tuning" and config.encoder_reparameterization_type == "MLP":
        for key, default in (("encoder_num_layers", 2), ("encoder_dropout", 0.0)):
            if getattr(config, key) != default:
                yield Problem(
                    (*at, key),
                    f"tune.{key} has no effect with an MLP; remove it, or set "
                    "encoder_reparameterization_type: LSTM",
                )
    if name == "freeze" and not (config.last_layers or config.layers or config.pattern):
        yield Problem(
            (*at, "last_layers"),
            "tune.last_layers: 0 leaves nothing to train; raise it, or name layers or a pattern",
        )


RULES: tuple[Callable[[Any], Iterator[Problem]], ...] = (
    quantized,
    half_precision,
    virtual_tokens,
    added_tokens,
    keys,
)
