"""What DeepSpeed is handed, and what the report says of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftune.errors import RecipeError
from ftune.recipe import deepspeed
from ftune.recipe.checks_of_deepspeed import problems
from ftune.recipe.view import View


def configuration(recipe: View, folder: Path, processes: int) -> Mapping[str, Any] | None:
    """What DeepSpeed is handed; None where the recipe doesn't ask for it.

    Raises:
        RecipeError: its configuration contradicts the recipe, or the number of processes.
    """
    written = recipe.distributed.deepspeed
    if written is None:
        return None
    config = deepspeed.read(written, folder)
    wrong = [problem.message for problem in problems(recipe, config, processes)]
    if wrong:
        raise RecipeError(*wrong)
    return deepspeed.settled(config, recipe.train)


def lines(told: Mapping[str, Any] | None) -> tuple[str, ...]:
    """A line for the report; ``told`` is ``Outcome.deepspeed``. None where it was not there."""
    if told is None:
        return ()
    number, whole = told["processes"], told["trained_elements"] * 4 / 1e6

    def each(what: str) -> str:
        return ", ".join(f"{held / 1e6:,.2f}" for held in told[f"{what}_bytes_of_each"])

    return (
        f"DeepSpeed, ZeRO stage {told['stage']}, {number} process{'es' * (number != 1)}: "
        f"{told['parameters_split']} of {told['parameters']} parameters are split; the processes "
        f"hold {each('parameter')} MB of {told['parameter_bytes'] / 1e6:,.2f} MB of parameters, "
        f"{each('gradient')} MB of {whole:,.2f} MB of gradients after they were added up, and "
        f"{each('optimizer')} MB of the optimizer",
    )
