"""The section ``evaluate.harness``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ftune.recipe.base import Section


class Harness(Section):
    """How the suites are asked (lm-evaluation-harness)."""

    include_path: str | None = None
    """A folder with task files of your own; a relative path starts at the recipe's folder."""
    num_fewshot: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """Solved examples before each question; null: as many as the suite says."""
    limit: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Ask only the first rows of each suite."""
    apply_chat_template: bool = False
    """Put each question into the model's own chat template."""
