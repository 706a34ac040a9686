"""The section ``few_shot`` of a source."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftune.recipe.base import Section

Shots = Annotated[int, Field(ge=0, le=1000)]


class Pool(Section):
    """Rows that demonstrations are taken from; they have the format of the source."""

    path: Annotated[str, Field(min_length=1)]
    """A file or a hub id, as of a source."""
    split: Annotated[str, Field(min_length=1)] = "train"
    """Split of a hub data set; a file has none."""
    subset: str | None = None
    """Configuration of a hub data set, where it has several."""
    revision: str | None = None
    """Commit, tag or branch of a hub data set."""
    max_rows: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Take only the first rows; they are kept in memory."""


class FewShot(Section):
    """Solved examples that are shown before each question."""

    k: Shots | Annotated[tuple[Shots, ...], Field(min_length=1)]
    """How many: 0 for none, or a list such as [0, 1, 5] from which each row draws one."""
    pool: Pool | None = None
    """Where they are taken from; null: the source's own rows (its training rows, of which the first
    1000), never the row itself."""
    choose: Literal["drawn", "fixed"] = "drawn"
    """Draw them anew for each row, or show the first ones of the pool before every row."""
    intro: str = ""
    """Stands before them, such as a sentence that says what the task is."""
    separator: str = "\n\n"
    """Stands between the intro, the demonstrations and the question."""
    between: str = ""
    """Stands between the question and the answer of a demonstration."""
    as_turns: bool = False
    """Show them as turns of the conversation before the question, instead of as text in it."""
