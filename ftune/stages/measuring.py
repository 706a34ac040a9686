"""A model's figures on rows of either kind: prompts, or rows that something is to be said of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftune.run.progress import Progress
from ftune.run.signals import StopFlag
from ftune.stages import labelled_testing, testing
from ftune.stages.labelled_testing import LabelledSet
from ftune.stages.testing import Asking, TestSet
from ftune.types import Metric, Prediction

if TYPE_CHECKING:
    from ftune.evaluate.cost import Cost


def measured(
    model: Any,
    tokenizer: Any,
    rows: TestSet | LabelledSet,
    asking: Asking,
    progress: Progress,
    stop: StopFlag,
    cost: Cost | None = None,
) -> tuple[Sequence[Prediction], Sequence[Metric]]:
    """The model's predictions for all rows, and the chosen metrics over them; ``cost`` is added
    to."""
    if not isinstance(rows, LabelledSet):
        return testing.measure(model, tokenizer, rows, asking, progress, stop, cost)
    chosen, size = asking.chosen, asking.batch_size
    return labelled_testing.measure(model, tokenizer, rows, chosen, size, progress, stop, cost)
