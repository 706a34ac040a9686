"""Models with a head that tells labels of a whole text apart."""

from __future__ import annotations

from typing import Any

from ftune.types import Task

AUTO = "AutoModelForSequenceClassification"  # of transformers
PEFT_TASK = "SEQ_CLS"  # what PEFT calls it


def options(task: Task) -> dict[str, Any]:
    """What of the model's configuration the task decides."""
    return {"num_labels": len(task.labels), **names(task)}


def names(task: Task) -> dict[str, Any]:
    """The labels as a configuration holds them."""
    numbered = dict(enumerate(task.labels))
    return {"id2label": numbered, "label2id": {name: at for at, name in numbered.items()}}
