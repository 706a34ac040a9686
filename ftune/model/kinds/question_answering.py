"""Models with a head that points at the first and the last token of an answer."""

from __future__ import annotations

from typing import Any

from ftune.types import Task

AUTO = "AutoModelForQuestionAnswering"  # of transformers
PEFT_TASK = "QUESTION_ANS"  # what PEFT calls it


def options(task: Task) -> dict[str, Any]:  # noqa: ARG001
    """What of the model's configuration the task decides."""
    return {}
