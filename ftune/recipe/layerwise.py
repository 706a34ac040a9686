"""The sections of ``train`` that go layer by layer (ULMFiT)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ftune.recipe.base import Section

Every = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Unfreezing(Section):
    """When the next lower layer begins to be trained: one of the two keys."""

    epochs: Every | None = None
    """After so many epochs."""
    steps: Every | None = None
    """After so many optimizer steps."""


class SlantedTriangular(Section):
    """The shape of ``lr_scheduler_type: slanted_triangular``."""

    cut_frac: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Share of the steps in which the rate rises."""
    ratio: Annotated[float, Field(ge=1.0, le=1e6)] = 32.0
    """How many times smaller the lowest rate is than ``learning_rate``."""
