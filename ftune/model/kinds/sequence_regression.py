"""Models with a head that gives one number of a whole text."""

from __future__ import annotations

from typing import Any

from ftune.types import Task

AUTO = "AutoModelForSequenceClassification"  # of transformers
PEFT_TASK = "SEQ_CLS"  # what PEFT calls it


def options(task: Task) -> dict[str, Any]:  # noqa: ARG001
    """What of the model's configuration the task decides."""
    return {"num_labels": 1, "problem_type": "regression"}
