"""Trackers that a recipe asks for, through accelerate; none is touched unless asked for."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ftune.errors import RecipeError

PROJECT = "ftune"


def check(report_to: Sequence[str]) -> None:
    """Looks whether the trackers are installed, without importing them.

    Raises:
        RecipeError: one is not; the message names the extra that brings it.
    """
    missing = [name for name in report_to if find_spec(name) is None]
    if missing:
        raise RecipeError(
            *(
                f"train.report_to: {name} is not installed; pip install 'ftune[{name}]', "
                "or take it out of the list"
                for name in missing
            )
        )


def start(accelerator: Any, report_to: Sequence[str], name: str, folder: Path, step: int) -> None:
    """Opens the trackers; ``step`` is where a resumed run goes on, so that none is shown twice."""
    if not report_to:
        return
    options: dict[str, dict[str, Any]] = {
        "tensorboard": {"purge_step": step + 1},
        "wandb": {"name": name, "dir": str(folder)},
        "mlflow": {"run_name": name},
    }
    accelerator.init_trackers(PROJECT, init_kwargs={key: options[key] for key in report_to})
