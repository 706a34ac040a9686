"""The section ``data.streaming``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftune.recipe.base import Section


class Streaming(Section):
    """Rows are formed while the training goes on, a buffer at a time."""

    buffer: Annotated[int, Field(ge=8, le=10_000_000)] = 10_000
    """Rows that are formed and shuffled together, and then trained. Where ftune speaks of an epoch,
    it is one buffer here."""
    by: Literal["rows", "trained_tokens"] = "rows"
    """What the weights of several sources are shares of."""
