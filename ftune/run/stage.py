"""The contract between a stage and the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftune.recipe.view import View
from ftune.run.directory import RunDirectory
from ftune.run.progress import Progress
from ftune.run.signals import StopFlag
from ftune.types import Report


@dataclass(frozen=True)
class Place:
    """Where a recipe's names are looked up, and what they may do."""

    folder: Path  # the recipe's: relative paths start there
    allow_remote_code: bool = False


@dataclass(frozen=True)
class Surroundings:
    """What every stage of one run has in common."""

    run: RunDirectory
    place: Place
    progress: Progress
    stop: StopFlag
    # Objects that a stage leaves in memory for later ones (the loaded model); a later stage makes
    # them itself where the earlier one was reused.
    shared: dict[str, Any] = field(default_factory=dict)
    siblings: tuple[str, ...] = ()  # names of recipes whose finished stages may stand in, too


@dataclass(frozen=True)
class Context:
    """What a stage is handed when it runs."""

    folder: Path  # the stage's own; everything it writes stands there
    recipe: View  # only the keys that the stage declares
    fingerprint: str
    around: Surroundings

    def folder_of(self, stage: str) -> Path:
        """The folder of a stage before this one."""
        return self.around.run.stage(stage)


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline."""

    name: str
    version: int  # raised by hand when its outputs change meaning
    reads: tuple[str, ...]  # recipe keys; handed only these, its fingerprint can't lie
    needs: tuple[str, ...]  # stages before it
    writes: tuple[str, ...]  # files that must exist when it is done
    identity: Callable[[View, Place], Mapping[str, Any]]  # what the names it reads stand for
    run: Callable[[Context], Report]
    # Keys that count in the fingerprint only as ``identity`` tells them.
    covered: tuple[str, ...] = ()
    # Whether a finished one of another run may stand in, where its fingerprint is the same.
    borrowed: bool = False
    # Raises what would fail in it; called before the last stage that it needs is run.
    foresee: Callable[[Context], None] | None = None
