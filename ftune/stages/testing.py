"""The test rows as prompts and tokens, and a model's figures on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ftune.recipe.view import View
from ftune.registry import OBJECTIVES
from ftune.run.progress import Progress
from ftune.run.signals import StopFlag
from ftune.types import Metric, Prediction, Prompt

DATA_KEYS = (
    "data.train",
    "data.eval",
    "data.test",
    "data.template",
    "data.system_prompt",
    "data.max_length",
    "data.on_too_long",
    "data.on_bad_row",
    "data.train_on",
    "train.seed",
    "train.objective",
)


@dataclass
class TestSet:
    """Rows of one split, in order; ``tokens[i]`` belongs to the row that ``prompts`` counts as i."""

    __test__ = False  # pytest collects what begins with Test

    prompts: list[Prompt]
    members: list[tuple[int, ...]]  # rows behind each prompt
    tokens: dict[int, tuple[Sequence[int], Sequence[bool]]]  # by row; not for what was dropped
    sizes: dict[int, int]  # UTF-8 bytes of each row's reference
    ledger: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Asking:
    """One way of measuring: what the metrics need, and how answers are made."""

    chosen: Sequence[Any]
    generation: Any
    batch_size: int
    stop: tuple[str, ...]
    stop_ids: tuple[int, ...]
    max_length: int


def measure(
    model: Any,
    tokenizer: Any,
    rows: TestSet,
    asking: Asking,
    progress: Progress,
    stop: StopFlag,
) -> tuple[list[Prediction], list[Metric]]:
    """The model's predictions for all rows, and the chosen metrics over them."""
    from ftune.evaluate.predicting import generate
    from ftune.evaluate.scoreboard import needs, score_all
    from ftune.run.pipeline import stop_between

    def between() -> None:
        stop_between(stop, "the evaluation was complete")

    wanted = needs(asking.chosen)
    if "text" in wanted:
        predictions = list(
            generate(
                model,
                tokenizer,
                rows.prompts,
                asking.generation,
                asking.stop,
                asking.stop_ids,
                asking.batch_size,
                progress,
                between,
            )
        )
    else:
        predictions = [
            Prediction(p.row, p.text, "", p.references, p.source) for p in rows.prompts
        ]
    if "likelihood" in wanted:
        predictions = _with_likelihood(model, tokenizer, rows, predictions, progress, between)
    return predictions, score_all(asking.chosen, predictions)


def _with_likelihood(
    model: Any,
    tokenizer: Any,
    rows: TestSet,
    predictions: list[Prediction],
    progress: Progress,
    between: Any,
) -> list[Prediction]:
    import numpy as np

    from ftune.data.batching import in_order
    from ftune.data.collating import collate
    from ftune.evaluate.scoring import likelihood, with_losses

    known = sorted(rows.tokens)
    lengths = np.array([len(rows.tokens[row][0]) for row in known])
    objective = OBJECTIVES.load("sft")
    pad = tokenizer.pad_token_id or 0

    def read(place: int) -> tuple[Sequence[int], Sequence[bool]]:
        return rows.tokens[known[place]]

    batches = (collate(micro, read, pad, packed=False) for micro in in_order(lengths, 16))
    found = likelihood(model, batches, objective.target_logits, len(known), progress, between)
    losses = {known[loss.row]: replace(loss, row=known[loss.row]) for loss in found}
    return with_losses(predictions, rows.members, losses, rows.sizes)


def rows_of(recipe: View, split: str, tokenizer: Any, place: Any, progress: Progress) -> TestSet:
    """The rows of ``data.<split>``, rendered by the recipe's template.

    Raises:
        DataError: the split has no rows, or one of them can't be used and the recipe says to stop.
    """
    raise RuntimeError("set up when the data room is there")
