"""Prompts of several lengths as one left-padded batch, with the virtual tokens of soft prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ftune.errors import DataError


@dataclass(frozen=True)
class Lines:
    """A batch for ``generate``: its keywords, and at which column answers begin.

    ``by_peft``: the ``generate`` of PEFT's wrapper is to be asked, and not the model's inside it.
    """

    inputs: dict[str, Any]
    width: int
    by_peft: bool = False


def base_of(model: Any) -> Any:
    """The transformers model that generates: the model itself, or the one a PEFT wrapper holds."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def virtual_tokens(model: Any) -> int:
    """How many trained vectors stand before each prompt (soft prompts); else 0."""
    config = getattr(model, "active_peft_config", None)
    if config is None or not config.is_prompt_learning or model._adapters_disabled:
        return 0
    return int(config.num_virtual_tokens)


def task_ids(model: Any, names: Sequence[str]) -> Any:
    """The number of each line's task, int64; None where the model's prompt is the same for all.

    Raises:
        DataError: a task is missing, or the model was not trained for it.
    """
    there = getattr(model, "ftune_tasks", ())
    if not there or model._adapters_disabled:
        return None
    if wrong := next((name for name in names if name not in there), None):
        raise DataError(f"there is no task {wrong!r}; the model was trained for {', '.join(there)}")
    if "" in names:
        raise DataError(f"a prompt is of no task; the model was trained for {', '.join(there)}")
    return torch.tensor([there.index(name) for name in names], device=model.device)


def line_up(
    model: Any,
    rows: Sequence[Sequence[int]],
    pad: int,
    copies: int = 1,
    tasks: Sequence[str] = (),
) -> Lines:
    """Pads on the left, so that each row's answer begins in the same column.

    Virtual tokens stand between the padding and the prompt. PEFT puts them before the padding,
    where the distance to the prompt, and so the answer, would depend on the batch. Those of prefix
    tuning are keys and values in a cache that is filled already, and stand before the padding:
    positions are counted over what the mask shows, so the padding takes none. ``copies`` is how
    many lines ``generate`` makes of each row (its beams). ``tasks`` are the rows' where a model was
    trained for several.
    """
    base = base_of(model)
    device = base.get_input_embeddings().weight.device
    if base.config.is_encoder_decoder:
        return _beside(model, rows, pad, device)
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
        of_task = task_ids(model, tasks or [""] * len(rows))
        trained = model.get_prompt(len(rows), task_ids=of_task).to(vectors.dtype)
        for line, row in enumerate(rows):
            end = width - len(row)
            vectors[line, end - virtual : end] = trained[line]
        inputs["inputs_embeds"] = vectors
    return Lines(inputs, width)


def _beside(model: Any, rows: Sequence[Sequence[int]], pad: int, device: Any) -> Lines:
    """For an encoder: padded on the right, as in training; answers stand in lines of their own,
    behind the decoder's first token. A prefix of keys and values stands in the decoder, where PEFT
    puts it when the first token is made."""
    shape = (len(rows), max(len(row) for row in rows))
    ids, mask = torch.full(shape, pad, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for line, row in enumerate(rows):
        ids[line, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[line, : len(row)] = 1
    ids, mask = ids.to(device), mask.to(device)
    virtual = virtual_tokens(model)
    if not virtual or model.active_peft_config.peft_type == "PREFIX_TUNING":
        return Lines({"input_ids": ids, "attention_mask": mask}, 1, by_peft=bool(virtual))
    vectors = base_of(model).get_input_embeddings()(ids)
    trained = model.get_prompt(batch_size=len(rows))[:, :virtual].to(vectors.dtype)
    shown = torch.cat([mask.new_ones(len(rows), virtual), mask], 1)
    return Lines({"inputs_embeds": torch.cat([trained, vectors], 1), "attention_mask": shown}, 1)
