"""What counts as a spike of the loss or of the gradient."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ftune.recipe.base import Section


class Spikes(Section):
    """A step whose loss, or whose gradient's norm, stands far above those of the steps before."""

    deviations: Annotated[float, Field(gt=0.0, le=1e6)] = 10.0
    """So many deviations above the median; one is 1.4826 times the median distance from the median
    (for normal noise the standard deviation), and at least a twentieth of the median."""
    window: Annotated[int, Field(ge=8, le=10_000)] = 50
    """Applied steps that the median is taken of; as long as there are fewer, none is a spike."""
