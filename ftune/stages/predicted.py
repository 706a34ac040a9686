"""What a model says of test rows: answers, likelihoods, or both, as the metrics need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftune.registry import OBJECTIVES
from ftune.run.progress import Progress
from ftune.stages.holding import flags
from ftune.stages.ranking import Ranking
from ftune.stages.tasked import batch_with
from ftune.types import Prediction

if TYPE_CHECKING:
    from ftune.evaluate.cost import Cost
    from ftune.stages.testing import Asking, TestSet, Window


def predicted(
    model: Any,
    tokenizer: Any,
    rows: TestSet,
    asking: Asking,
    progress: Progress,
    between: Any,
    cost: Cost,
) -> list[Prediction]:
    """A prediction for each prompt; ``cost`` is added to."""
    from ftune.evaluate.predicting import generate
    from ftune.evaluate.scoreboard import needs

    wanted = needs(asking.chosen)
    if wanted & {"text", "answers"}:
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
                cost,
                asking.batch_tokens,
            )
        )
    else:
        predictions = [
            Prediction(p.row, p.text, "", p.references, p.source, choices=p.choices)
            for p in rows.prompts
        ]
        if "choices" in wanted:
            cost.add(prompt_tokens=sum(len(p.ids) for p in rows.prompts))
    if "likelihood" in wanted:
        window = asking.window
        predictions = _with_likelihood(
            model, tokenizer, rows, predictions, window, progress, between
        )
    if "choices" in wanted:
        pad, first = tokenizer.pad_token_id or 0, [of_prompt[0] for of_prompt in rows.members]
        ask = Ranking(rows.prompts, [rows.options[row] for row in first], asking.chosen)
        predictions = ask.ranked(model, pad, predictions, asking.batch_size, progress, between)
    return predictions


def _with_likelihood(
    model: Any,
    tokenizer: Any,
    rows: TestSet,
    predictions: list[Prediction],
    window: Window | None,
    progress: Progress,
    between: Any,
) -> list[Prediction]:
    import numpy as np

    from ftune.data.batching import in_order
    from ftune.data.collating import collate
    from ftune.data.windows import windows
    from ftune.evaluate.scoring import RowLoss, likelihood, with_losses

    owners, parts = [], []
    for row, (ids, trained) in sorted(rows.tokens.items()):
        width, step = (len(ids), len(ids)) if window is None else (window.width, window.stride)
        for part in windows(ids, trained, width, step):
            owners.append(row)
            parts.append((part[0], flags(part[1])))
    lengths = np.array([len(ids) for ids, _ in parts])
    objective = OBJECTIVES.load("sft")
    pad = tokenizer.pad_token_id or 0
    plain = (
        collate(micro, parts.__getitem__, pad, packed=False) for micro in in_order(lengths, 16)
    )
    batches = (
        batch_with(b, model, [rows.tasks.get(owners[part], "") for part in b.rows]) for b in plain
    )
    losses: dict[int, RowLoss] = {}
    for one in likelihood(model, batches, objective.target_logits, len(parts), progress, between):
        row = owners[one.row]
        before = losses.get(row, RowLoss(row, 0.0, 0))
        losses[row] = RowLoss(row, before.total + one.total, before.count + one.count)
    return with_losses(predictions, rows.members, losses, rows.sizes)
