"""The likelihood of the references: what the model says of answers it did not write."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ftune.errors import DataError, RunError
from ftune.run.progress import Progress, Silent
from ftune.types import Batch, Prediction, Rows

LOGITS = 2**26  # a forward pass makes at most so many logits, or those of one row
TENSORS = ("input_ids", "labels", "position_ids", "attention_mask")
CHUNK = 1024  # positions whose logits are widened to 32 bits at once

# (model, batch) -> logits (targets, vocabulary) before each target, and the targets' ids (targets,)
TargetLogits = Callable[[Any, Batch], tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class RowLoss:
    """Summed loss in nats over the ``count`` trained tokens of row ``row`` of the tokens file."""

    row: int
    total: float
    count: int


def likelihood(
    model: Any,
    batches: Iterable[Batch],
    target_logits: TargetLogits,
    rows: int | None = None,
    progress: Progress | None = None,
    between: Callable[[], object] = lambda: None,
) -> Iterator[RowLoss]:
    """The loss of each row of ``batches``, which are padded and not packed.

    ``target_logits`` is the objective's, and applies the head to trained positions only; batches
    are cut so that its logits stay few. ``rows`` is the total for the progress bar; ``between`` is
    called before each forward pass and may raise to end the work.

    Raises:
        RunError: a loss is not a finite number.
    """
    done = 0
    with (progress or Silent()).meter("scoring references", rows, "rows") as meter:
        for batch in batches:
            for part in _parts(batch, model.config.get_text_config().vocab_size):
                between()
                found = _in_memory(model, part, target_logits)
                for loss in found:
                    if not math.isfinite(loss.total):
                        raise RunError(
                            f"evaluate: the loss of test example {loss.row + 1} is {loss.total}; "
                            "the weights are broken, or overflow: train again with a lower "
                            "train.learning_rate, or load the model with dtype float32"
                        )
                yield from found
                done += len(found)
                meter.update(done)


def _parts(batch: Batch, vocabulary: int) -> Iterator[Batch]:
    """The batch in runs of rows whose logits together are at most LOGITS, and at least one row."""
    assert batch.attention_mask is not None, "rows of a packed batch can't be told apart"
    targets = (batch.labels[:, 1:] != -100).sum(1).tolist()
    start = 0
    while start < len(targets):
        end = start + 1
        while end < len(targets) and sum(targets[start : end + 1]) * vocabulary <= LOGITS:
            end += 1
        yield _cut(batch, slice(start, end))
        start = end


def _cut(batch: Batch, rows: slice) -> Batch:
    """Some rows of a batch."""
    tensors = {name: getattr(batch, name)[rows] for name in TENSORS}
    if batch.tasks is not None:
        tensors["tasks"] = batch.tasks[rows]
    count = int((tensors["labels"][:, 1:] != -100).sum())
    kept = batch.rows[rows]
    return replace(batch, **tensors, rows=kept, count=count, examples=len(kept))


def _in_memory(model: Any, batch: Batch, target_logits: TargetLogits) -> list[RowLoss]:
    """The losses of a batch, in halves where memory is short.

    Raises:
        RunError: there isn't memory for one row.
    """
    from ftune.evaluate.quiet import evaluating, out_of_memory

    try:
        with evaluating(model):
            return _row_losses(model, batch, target_logits)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
    count = len(batch.rows)
    if count == 1:
        raise RunError(
            f"evaluate: there isn't memory to score test example {batch.rows[0] + 1} of "
            f"{batch.input_ids.shape[1]:,} tokens alone; lower data.max_length, or load the model "
            "in 4 bits"
        )
    halves = (slice(0, count // 2), slice(count // 2, count))
    return [x for half in halves for x in _in_memory(model, _cut(batch, half), target_logits)]


def _row_losses(model: Any, batch: Batch, target_logits: TargetLogits) -> list[RowLoss]:
    import torch

    device = model.get_input_embeddings().weight.device
    batch = batch.to(device)
    logits, ids = target_logits(model, batch)
    of_row = (batch.labels[:, 1:] != -100).nonzero()[:, 0]
    parts = zip(logits.split(CHUNK), ids.split(CHUNK), strict=True)
    losses = [torch.nn.functional.cross_entropy(x.float(), y, reduction="none") for x, y in parts]
    sums = [0.0] * len(batch.rows)
    counts = [0] * len(batch.rows)
    for row, loss in zip(of_row.tolist(), torch.cat(losses).tolist(), strict=True):
        sums[row] += loss
        counts[row] += 1
    return [RowLoss(*found) for found in zip(batch.rows, sums, counts, strict=True)]


def with_losses(
    predictions: Sequence[Prediction],
    members: Sequence[Sequence[int]],
    losses: Mapping[int, RowLoss],
    sizes: Mapping[int, int],
) -> list[Prediction]:
    """Predictions with the loss of their references.

    ``members[i]`` are the rows of the tokens file whose references prediction i holds, and
    ``sizes`` the UTF-8 bytes of each row's reference. Rows without a loss (dropped as too long,
    say) are left out, and a prediction with none keeps ``loss_sum`` None.
    """
    found = []
    for prediction, rows in zip(predictions, members, strict=True):
        there = [losses[row] for row in rows if row in losses]
        if there:
            prediction = replace(
                prediction,
                loss_sum=math.fsum(loss.total for loss in there),
                loss_count=sum(loss.count for loss in there),
                loss_bytes=sum(sizes.get(loss.row, 0) for loss in there),
            )
        found.append(prediction)
    return found


@dataclass(frozen=True)
class TotalLoss:
    """Loss in nats, tokens and bytes of all references that have a likelihood."""

    loss: float
    tokens: int
    bytes: int
    scored: int
    rows: int

    def described(self) -> str:
        """The amounts as a part of a signature."""
        return f"tokens:{self.tokens}|rows:{self.scored}/{self.rows}"


def total_loss(predictions: Sequence[Prediction], metric: str) -> TotalLoss:
    """Sums over predictions.

    Raises:
        DataError: there is none with a likelihood.
    """
    losses = [(p.loss_sum, p) for p in predictions if p.loss_sum is not None and p.loss_count]
    if not losses:
        raise DataError(
            f"data.test: {metric} needs rows with a reference, and none of {len(predictions):,} "
            "rows has a likelihood; give it rows with answers that fit into data.max_length"
        )
    return TotalLoss(
        loss=math.fsum(loss for loss, _ in losses),
        tokens=sum(p.loss_count for _, p in losses),
        bytes=sum(p.loss_bytes for _, p in losses),
        scored=len(losses),
        rows=len(predictions),
    )


def loss_rows(
    predictions: Sequence[Prediction], figure: Callable[[float, float, float], float]
) -> Rows:
    """Loss, tokens and bytes of each row, and a ``figure`` of their sums; zeros where there is no
    likelihood, so that rows stand in the predictions' order."""
    values = [
        (p.loss_sum, p.loss_count, p.loss_bytes)
        if p.loss_sum is not None and p.loss_count
        else (0.0, 0, 0)
        for p in predictions
    ]
    return Rows(values, lambda sums: figure(*sums))
