"""Write an answer to a question with an encoder-decoder (T5's shape)."""

from __future__ import annotations

from typing import Any

from ftune.recipe.base import Section
from ftune.types import Batch, LossSum

KIND = "seq2seq_lm"


class Config(Section):
    """It has no options."""


def logits(model: Any, batch: Batch) -> Any:
    """Of shape (rows, longest answer, vocabulary): each token from those before it."""
    assert batch.targets is not None
    return _said(model, batch, batch.targets.long())


def target_logits(model: Any, batch: Batch) -> tuple[Any, Any]:
    """Logits (targets, vocabulary) of each token of the answers, and the tokens' ids.

    The answers stand in ``labels``, from the second column on.
    """
    from ftune.train.labelled import NONE

    answers = batch.labels[:, 1:]
    there = answers != NONE
    return _said(model, batch, answers)[there], answers[there]


def _said(model: Any, batch: Batch, answers: Any) -> Any:
    from ftune.train.labelled import NONE, wide

    config = getattr(model, "module", model).config  # a wrapper may have another of its own
    before = answers.roll(1, dims=1)
    before[:, 0] = config.decoder_start_token_id
    before = before.masked_fill(before == NONE, config.pad_token_id)
    said = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        decoder_input_ids=before,
        use_cache=False,
    )
    return wide(said.logits)


def loss(model: Any, batch: Batch, config: Config) -> LossSum:  # noqa: ARG001
    """Cross-entropy in nats, summed over the answers' tokens and their end mark, with gradient."""
    import torch

    from ftune.train.labelled import NONE

    assert batch.targets is not None
    total = torch.nn.functional.cross_entropy(
        logits(model, batch).flatten(0, 1),
        batch.targets.long().flatten(),
        ignore_index=NONE,
        reduction="sum",
    )
    return LossSum(total=total, count=batch.count)
