"""The section ``data.mixture``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftune.recipe.base import Section


class Mixture(Section):
    """The share of each training source."""

    sampling: Literal["proportional", "examples_proportional", "temperature", "uniform"] = (
        "proportional"
    )
    """The shares: as the sources' sizes, as sizes up to ``cap``, as these to the power of
    1 / ``temperature``, or equal."""
    temperature: Annotated[float, Field(ge=0.1, le=1e6)] | None = None
    """T of ``sampling: temperature``: 1 is examples_proportional, a large one nearly uniform."""
    cap: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """A source counts as no larger than this, in what ``by`` counts."""
    by: Literal["rows", "trained_tokens"] = "rows"
    """What sizes and shares are counted in."""
    stop: Literal["first_exhausted", "all_exhausted"] = "first_exhausted"
    """Draw until a source has no row left, so that none is repeated; or until all rows are drawn,
    repeating those of sources that run out."""
    redraw: bool = False
    """Draw anew for each epoch, those rows first that were drawn least; else every epoch has the
    rows of the first draw."""
