"""Prompt tuning: a few trained vectors before every input, the model frozen.

Lester et al. 2021, https://arxiv.org/abs/2104.08691; through PEFT.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``PromptTuningConfig``."""

    num_virtual_tokens: Annotated[int, Field(ge=1)] = 20
    """How many vectors; each takes a place of the context."""
    prompt_tuning_init: Literal["SAMPLE_VOCAB", "RANDOM", "TEXT"] = "SAMPLE_VOCAB"
    """Start from embeddings of drawn tokens, from drawn vectors of the embeddings' mean and spread,
    or from the embeddings of a text."""
    prompt_tuning_init_text: str = ""
    """That text; repeated or cut to the number of vectors (TEXT only)."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with ``num_virtual_tokens`` trained vectors of its hidden size, in float32.

    The vectors are set here from the tokenizer at hand, where PEFT would load one by its name.

    Raises:
        ModelError: the text is missing, or the recipe adds tokens, which only weights can learn.
    """
    from peft import PromptTuningConfig

    from ftune.errors import ModelError
    from ftune.model import attaching

    attaching.refuse_added_tokens(tokenizer, "prompt_tuning")
    if (config.prompt_tuning_init == "TEXT") != bool(config.prompt_tuning_init_text.strip()):
        raise ModelError(
            "tune.prompt_tuning_init_text: a text goes with prompt_tuning_init: TEXT, and only "
            "with it"
        )
    start = _start(model, config, tokenizer)
    tuned = attaching.attach(model, PromptTuningConfig(num_virtual_tokens=len(start)))
    weight = tuned.prompt_encoder[tuned.active_adapter].embedding.weight
    weight.data = start.to(weight.device)
    return tuned


def _start(model: Any, config: Config, tokenizer: Any) -> Any:
    """First vectors, float32 of shape (num_virtual_tokens, hidden)."""
    import torch

    from ftune.errors import ModelError

    table = model.get_input_embeddings().weight.detach()
    count = config.num_virtual_tokens
    if config.prompt_tuning_init == "RANDOM":
        drawn = torch.randn(count, table.shape[1])
        # PEFT draws with spread 1, far outside what a model's first layer knows.
        return drawn * table.float().std(0).cpu() + table.float().mean(0).cpu()
    if config.prompt_tuning_init == "TEXT":
        ids = tokenizer(config.prompt_tuning_init_text, add_special_tokens=False)["input_ids"]
        if not ids:
            raise ModelError("tune.prompt_tuning_init_text: the tokenizer makes no token of it")
        chosen = torch.tensor((ids * (count // len(ids) + 1))[:count])
    else:
        chosen = torch.randint(0, min(len(tokenizer), table.shape[0]), (count,))
    return table[chosen.to(table.device)].float().clone()
