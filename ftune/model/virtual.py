"""Trained keys and values before an input (deep prompts): what they start from, and a trial."""

from __future__ import annotations

from typing import Any

from ftune.errors import ModelError


def start_ids(model: Any, tokenizer: Any, count: int, text: str) -> Any:
    """Ids (1, count) of the text, repeated or cut, or of drawn tokens if it is empty.

    Raises:
        ModelError: the tokenizer makes no token of the text.
    """
    import torch

    if not text:
        rows = model.get_input_embeddings().weight.shape[0]
        return torch.randint(0, min(len(tokenizer), rows), (1, count))
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise ModelError("tune.init_text: the tokenizer makes no token of it")
    return torch.tensor([(ids * (count // len(ids) + 1))[:count]])


def start_from(tuned: Any, ids: Any) -> None:
    """Sets the prefix to the keys and values that the base itself has of these tokens.

    Of an encoder-decoder they are those of its decoder, which reads the tokens behind themselves.
    An encoder keeps none: there the prefix is drawn, as narrow as its own new weights.
    """
    import torch
    from peft.tuners.cartridge.utils import initialize_kv_prefix_from_past_key_values

    body = tuned.get_base_model().base_model  # the prefix is put before it, outside
    ids = ids.to(tuned.device)
    with torch.no_grad():
        cache = body(**_given(tuned, ids), use_cache=True).past_key_values
    cache = getattr(cache, "self_attention_cache", cache)
    if cache is None:
        spread = getattr(tuned.config, "initializer_range", 0.02)
        for parameter in tuned.prompt_encoder.parameters():
            torch.nn.init.normal_(parameter, std=spread)
        return
    initialize_kv_prefix_from_past_key_values(tuned, past_key_values=cache)


def checked(tuned: Any, method: str) -> Any:
    """``tuned``, once it took a few tokens behind its prefix.

    Raises:
        ModelError: the architecture keeps no such cache of keys and values.
    """
    import torch

    ids = torch.arange(4, device=tuned.device)[None]
    try:
        with torch.no_grad():
            tuned(**_given(tuned, ids), use_cache=False)
    except Exception as error:
        line = str(error).strip().partition("\n")[0]
        base = type(tuned.get_base_model()).__name__
        raise ModelError(
            f"tune.method: {base} takes no prefix of keys and values for {method} ({line}); take "
            "prompt_tuning or lora"
        ) from error
    return tuned


def _given(tuned: Any, ids: Any) -> dict[str, Any]:
    """The ids as a model takes them: an encoder-decoder reads them twice."""
    both = {"input_ids": ids}
    return both | ({"decoder_input_ids": ids} if tuned.config.is_encoder_decoder else {})
