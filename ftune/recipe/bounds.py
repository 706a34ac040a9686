"""The bounds of numbers that several sections of a recipe share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every random generator takes
Resamples = Annotated[int, Field(ge=0, le=1_000_000)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Rate = Annotated[float, Field(ge=0.0)]
Values = Annotated[tuple[Any, ...], Field(min_length=1)]
