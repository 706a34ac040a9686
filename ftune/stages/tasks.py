"""What a recipe's model is for: its objective's kind of head, and the labels of its rows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from ftune.recipe.view import View
from ftune.registry import OBJECTIVES
from ftune.run import atomic
from ftune.types import Task

# The file that goes with tokens, adapters and merged models: how their rows were written as tokens.
CONTRACT = "prompting.json"


def objective(recipe: View) -> ModuleType:
    """The module of the recipe's objective."""
    return OBJECTIVES.load(recipe.train.objective.name)


def is_labelled(recipe: View) -> bool:
    """Whether rows have labels, and the model a head of its own for them."""
    return hasattr(objective(recipe), "KIND")


def writes(recipe: View) -> bool:
    """Whether a model with a task of its own writes text: an encoder-decoder."""
    return getattr(objective(recipe), "KIND", "") == "seq2seq_lm"


def told_in(folder: Path) -> Task | None:
    """The task that the files in ``folder`` are for; None for a language model."""
    path = folder / CONTRACT
    told = atomic.read_json(path).get("task") if path.is_file() else None
    return None if told is None else read(told)


def read(told: dict[str, Any]) -> Task:
    """The task that ``plain`` wrote."""
    return Task(told["kind"], tuple(told["labels"]), tuple(told["counts"]))


def plain(task: Task) -> dict[str, Any]:
    """A task for a file."""
    return asdict(task)
