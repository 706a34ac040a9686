"""Prompts of several lengths as one left-padded batch, with the virtual tokens of soft prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Lines:
    """A batch for ``generate``: its keywords, and at which column answers begin."""

    inputs: dict[str, Any]
    width: int


def base_of(model: Any) -> Any:
    """The transformers model that generates: the model itself, or the one a PEFT wrapper holds."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def virtual_tokens(model: Any) -> int:
    """How many trained vectors stand before each prompt (soft prompts); else 0."""
    config = getattr(model, "active_peft_config", None)
    if config is None or not config.is_prompt_learning or model._adapters_disabled:
        return 0
    return int(config.num_virtual_tokens)


def line_up(model: Any, rows: Sequence[Sequence[int]], pad: int, copies: int = 1) -> Lines:
    """Pads on the left, so that each row's answer begins in the same column.

    Virtual tokens stand between the padding and the prompt. PEFT puts them before the padding,
    where the distance to the prompt, and so the answer, would depend on the batch. Those of prefix
    tuning are keys and values in a cache that is filled already, and stand before the padding:
    positions are counted over what the mask shows, so the padding takes none. ``copies`` is how
    many lines ``generate`` makes of each row (its beams).
    """
    base = base_of(model)
    device = base.get_input_embeddings().weight.device
    if base.config.is_encoder_decoder:
        return _beside(rows, pad, device)
    virtual = virtual_tokens(model)
    width = virtual + max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for line, row in enumerate(rows):
        ids[line, width - len(row) :] = torch.tensor(row, dtype=torch.long)
        mask[line, width - len(row) - virtual :] = 1
    inputs: dict[str, Any] = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
    if virtual and model.active_peft_config.peft_type == "PREFIX_TUNING":
        for line, row in enumerate(rows):
            mask[line, width - len(row) - virtual : width - len(row)] = 0
        mask[:, :virtual] = 1
        inputs["attention_mask"] = mask.to(device)
        inputs["past_key_values"] = model.get_prompt(batch_size=copies * len(rows))
    elif virtual:
        vectors = base.get_input_embeddings()(inputs["input_ids"])
        trained = model.get_prompt(batch_size=len(rows)).to(vectors.dtype)
        for line, row in enumerate(rows):
            end = width - len(row)
            vectors[line, end - virtual : end] = trained[line]
        inputs["inputs_embeds"] = vectors
    return Lines(inputs, width)


def _beside(rows: Sequence[Sequence[int]], pad: int, device: Any) -> Lines:
    """For an encoder: padded on the right, as in training; answers stand in lines of their own,
    behind the decoder's first token."""
    shape = (len(rows), max(len(row) for row in rows))
    ids, mask = torch.full(shape, pad, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for line, row in enumerate(rows):
        ids[line, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[line, : len(row)] = 1
    return Lines({"input_ids": ids.to(device), "attention_mask": mask.to(device)}, 1)
