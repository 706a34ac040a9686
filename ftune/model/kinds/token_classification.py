"""Models with a head that tells labels of each token apart."""

from __future__ import annotations

from typing import Any

from ftune.model.kinds.sequence_classification import names
from ftune.types import Task

AUTO = "AutoModelForTokenClassification"  # of transformers
PEFT_TASK = "TOKEN_CLS"  # what PEFT calls it


def options(task: Task) -> dict[str, Any]:
    """What of the model's configuration the task decides."""
    return {"num_labels": len(task.labels), **names(task)}
