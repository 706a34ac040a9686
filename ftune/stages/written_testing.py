"""An encoder-decoder's figures on test rows: answers it writes, and those that it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ftune.run.progress import Progress
from ftune.types import Metric, Prediction

if TYPE_CHECKING:
    from ftune.evaluate.cost import Cost
    from ftune.stages.labelled_testing import LabelledSet

BATCH = 16  # rows whose answers are scored at once; fewer where their logits would be many


def measure(
    model: Any,
    tokenizer: Any,
    rows: LabelledSet,
    chosen: Sequence[Any],
    size: int,
    progress: Progress,
    between: Callable[[], object],
    cost: Cost,
) -> tuple[list[Prediction], list[Metric]]:
    """Its predictions for all rows, and the chosen metrics over them; ``cost`` is added to."""
    from ftune.evaluate.predicting import generate
    from ftune.evaluate.scoreboard import needs, score_all
    from ftune.stages.ranking import Ranking

    wanted = needs(chosen)
    generation = rows.recipe.evaluate.generation
    if wanted & {"text", "answers"}:
        tokens = rows.recipe.evaluate.batch_tokens
        asked = (rows.prompts, generation, (), (), size, progress, between, cost, tokens)
        with cost.of(model.get_input_embeddings().weight.device):
            found = list(generate(model, tokenizer, *asked))
    else:
        found = [
            Prediction(p.row, p.text, "", p.references, p.source, choices=p.choices)
            for p in rows.prompts
        ]
    pad = tokenizer.pad_token_id or 0
    if "likelihood" in wanted:
        found = _with_likelihood(model, pad, rows, found, progress, between)
    if "choices" in wanted:
        ask = Ranking(rows.prompts, rows.options, chosen)
        found = ask.ranked(model, pad, found, size, progress, between)
    return found, score_all(chosen, found)


def _with_likelihood(
    model: Any,
    pad: int,
    rows: LabelledSet,
    predictions: Sequence[Prediction],
    progress: Progress,
    between: Callable[[], object],
) -> list[Prediction]:
    import numpy as np

    from ftune.data.batching import in_order
    from ftune.data.encodings.seq2seq import collate
    from ftune.evaluate.scoring import likelihood, with_losses
    from ftune.train.objectives.seq2seq import target_logits

    lengths = np.array([len(one.ids) for one in rows.tokens])
    batches = (
        _answers_as_labels(collate(micro, rows.tokens.__getitem__, pad))
        for micro in in_order(lengths, BATCH)
    )
    many = len(rows.tokens)
    losses = {
        one.row: one for one in likelihood(model, batches, target_logits, many, progress, between)
    }
    sizes = {at: len(p.references[0].encode()) for at, p in enumerate(rows.prompts)}
    return with_losses(predictions, [(at,) for at in range(many)], losses, sizes)


def _answers_as_labels(batch: Any) -> Any:
    """The batch with its answers in ``labels``, behind a column of nothing."""
    import torch

    return replace(
        batch,
        labels=torch.nn.functional.pad(batch.targets.long(), (1, 0), value=-100),
        targets=None,
    )
