"""What a model that was trained for several tasks is told of a batch."""

from __future__ import annotations

from typing import Any

from ftune.types import Batch


def task_ids(batch: Batch) -> dict[str, Any]:
    """Keywords for the model: PEFT's ``task_ids``, where the batch has tasks."""
    return {} if batch.tasks is None else {"task_ids": batch.tasks}
