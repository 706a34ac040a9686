"""Where virtual tokens stand: before a text, before what an encoder reads, or in a decoder."""

from __future__ import annotations

from typing import Any

from ftune.errors import ModelError

CACHED = "prefix_tuning"  # PEFT's name of virtual tokens that are keys and values


def named(config: Any) -> str:
    """PEFT's name of a config's method, in the recipe's way of writing."""
    return str(config.peft_type).rpartition(".")[2].lower()


def fit(model: Any, config: Any) -> None:
    """Tells a PEFT ``config`` of virtual tokens the shapes that it would guess wrong.

    Vectors stand before what an encoder reads, once: PEFT would make as many again for the decoder
    and never use them. Keys and values stand in the decoder's attention to itself.

    Raises:
        ModelError: PEFT has no place for them.
    """
    if not config.is_prompt_learning:
        return
    name = named(config)
    if config.task_type is None:
        raise ModelError(
            f"tune.method: PEFT puts no virtual tokens ({name}) before several choices; take lora"
        )
    if config.task_type != "SEQ_2_SEQ_LM":
        return
    if name not in ("prompt_tuning", "p_tuning", CACHED):
        raise ModelError(
            f"tune.method: PEFT hands an encoder-decoder with {name} no answers to read; take "
            "prompt_tuning or lora"
        )
    if name != CACHED:
        config.num_transformer_submodules = 1
        return
    shape = model.config
    config.num_layers = _first(shape, "num_decoder_layers", "decoder_layers", "num_layers")
    heads = _first(shape, "decoder_attention_heads", "num_heads", "num_attention_heads")
    width = _first(shape, "d_model", "hidden_size")
    config.num_attention_heads = heads
    config.token_dim = heads * (getattr(shape, "d_kv", None) or width // heads)


def refuse_beyond(model: Any, longest: int) -> None:
    """Refuses virtual tokens that leave no places for a text of ``longest`` tokens.

    Raises:
        ModelError: the model's positions end before.
    """
    config = getattr(model, "active_peft_config", None)
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if config is None or not config.is_prompt_learning or not positions:
        return
    own = config.num_virtual_tokens
    if own + longest > positions:
        raise ModelError(
            f"tune.num_virtual_tokens: {own} of them and rows of up to {longest} tokens are more "
            f"than the {positions} that the model can read; lower it, or set data.max_length to "
            f"at most {max(positions - own, 0)}"
        )


def _first(config: Any, *names: str) -> int:
    """The first of these that a model's configuration says.

    Raises:
        ModelError: it says none.
    """
    for name in names:
        if getattr(config, name, None):
            return int(getattr(config, name))
    raise ModelError(
        f"tune.method: {type(config).__name__} does not say its {names[0]}, which a prefix of keys "
        "and values needs; take prompt_tuning or lora"
    )
