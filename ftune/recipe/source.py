"""One source of rows: the entries of ``data.train``, ``data.eval`` and ``data.test``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ftune.recipe.base import Chosen, Section
from ftune.recipe.bounds import Positive
from ftune.recipe.few_shot import FewShot


class Source(Section):
    """One file or hub data set."""

    path: Annotated[str, Field(min_length=1)]
    """A file (jsonl, json, csv, tsv, parquet, txt, each also .gz) or a hub id ``owner/name``.
    A relative path starts at the recipe's folder; ``ftune:`` starts at what ships with ftune."""
    format: Chosen
    """The shape of a row; see the formats."""
    split: Annotated[str, Field(min_length=1)] = "train"
    """Split of a hub data set; a file has none, and takes no other value."""
    subset: str | None = None
    """Configuration of a hub data set, where it has several."""
    revision: str | None = None
    """Commit, tag or branch of a hub data set."""
    weight: Annotated[float, Field(gt=0.0, le=1000.0)] = 1.0
    """How often each row is seen in an epoch: 2 is twice, 0.5 is a drawn half of the rows. With
    ``data.mixture`` it multiplies the source's share; with ``data.streaming`` it is the share."""
    max_rows: Positive | None = None
    """Read only the first rows."""
    few_shot: FewShot | None = None
    """Solved examples before each question; leave out for none."""
    task: str = ""
    """Which of ``tune.tasks`` its rows are of (multitask_prompt_tuning only)."""
