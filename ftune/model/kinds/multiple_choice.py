"""Models with a head that rates one line after the other."""

from __future__ import annotations

from typing import Any

from ftune.types import Task

AUTO = "AutoModelForMultipleChoice"  # of transformers
PEFT_TASK = None  # PEFT has no name for it


def options(task: Task) -> dict[str, Any]:  # noqa: ARG001
    """What of the model's configuration the task decides."""
    return {}
