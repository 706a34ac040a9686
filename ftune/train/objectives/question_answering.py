"""Find the words of a text that answer a question (SQuAD)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ftune.recipe.base import Section
from ftune.types import Batch, LossSum

TAKES = "squad"
KIND = "question_answering"


class Config(Section):
    """How long contexts are read, and how long an answer may be."""

    doc_stride: Annotated[int, Field(ge=0)] = 128
    """Tokens that two windows over a long context have in common."""
    max_answer_length: Annotated[int, Field(ge=1)] = 30
    """Longest answer in tokens."""
    null_score_diff_threshold: float | None = None
    """By how much the best answer must beat "there is none"; null: there always is one (SQuAD 1.1;
    for SQuAD 2.0 take 0)."""


def logits(model: Any, batch: Batch) -> tuple[Any, Any]:
    """Of the first and of the last token of the answer, both of shape (windows, length)."""
    from ftune.train.labelled import outputs, wide

    said, width = outputs(model, batch), batch.input_ids.shape[1]
    return wide(said.start_logits)[:, -width:], wide(said.end_logits)[:, -width:]


def loss(model: Any, batch: Batch, config: Config) -> LossSum:  # noqa: ARG001
    """Mean of the cross-entropies of the first and the last token, summed over windows."""
    import torch

    from ftune.train.labelled import NONE

    assert batch.targets is not None
    own = [row[: 2 * n] for row, n in zip(batch.targets, batch.lines, strict=True)]
    right = torch.cat(own).view(-1, 2).long()
    losses = [
        torch.nn.functional.cross_entropy(said, right[:, at], ignore_index=NONE, reduction="sum")
        for at, said in enumerate(logits(model, batch))
    ]
    return LossSum(total=(losses[0] + losses[1]) / 2, count=batch.count)
