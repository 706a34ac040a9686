"""Where a run lives: ``<runs_dir>/<recipe name>/<run id>/``, ids counting up from 001."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.errors import RunError
from ftune.run import atomic

RUN_ID = re.compile(r"[0-9]{3,}")


@dataclass(frozen=True)
class RunDirectory:
    """The folder of one run, and the names of what stands in it."""

    folder: Path

    @property
    def id(self) -> str:
        """The run's number, as its folder is called."""
        return self.folder.name

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.folder.parent.name

    def __str__(self) -> str:
        return str(self.folder)

    def stage(self, name: str) -> Path:
        """The folder of a stage."""
        return self.folder / name

    @property
    def state_file(self) -> Path:
        """run.json: what the run is, and how far it came."""
        return self.folder / "run.json"

    @property
    def resolved_file(self) -> Path:
        """The recipe with every default."""
        return self.folder / "recipe.resolved.yaml"

    def state(self) -> dict[str, Any]:
        """run.json; empty for a run that was killed before it was written."""
        return atomic.read_json(self.state_file) if self.state_file.is_file() else {}

    def note(self, **facts: Any) -> None:
        """Updates run.json."""
        atomic.write_json(self.state_file, {**self.state(), **facts})


def _inside(root: Path, folder: Path) -> Path:
    """``folder``, unless a link leads it out of ``root``."""
    try:
        target, bound = folder.resolve(), root.resolve()
        folder.is_dir()
    except (OSError, RuntimeError) as error:  # too long a name, links in a circle
        said = getattr(error, "strerror", None) or error
        raise RunError(f"{folder}: can't be a folder of runs ({said}); name another") from error
    if not target.is_relative_to(bound):
        raise RunError(
            f"{folder}: is a link that leads out of {root}, and nothing is written outside it; "
            "remove the link or name that place as runs_dir"
        )
    return folder


def refuse_links(run: Path) -> None:
    """Refuses a run in which a folder is a link out of it, as one made by others may have.

    Raises:
        RunError: there is one; what is written into it would stand elsewhere.
    """
    bound = run.resolve()
    for folder, below, _ in os.walk(run):
        for path in (Path(folder, name) for name in below):
            if path.is_symlink() and not path.resolve().is_relative_to(bound):
                raise RunError(
                    f"{path}: is a link that leads out of the run, and nothing is written outside "
                    "it; put the folder itself there, or choose another runs_dir"
                )


def existing(runs_dir: Path, name: str) -> Iterator[RunDirectory]:
    """The runs of a recipe, newest first."""
    home = _inside(runs_dir, runs_dir / name)
    if not home.is_dir():
        return
    ids = sorted((d.name for d in home.iterdir() if RUN_ID.fullmatch(d.name)), key=int)
    for run_id in reversed(ids):
        yield RunDirectory(_inside(runs_dir, home / run_id))


def create(runs_dir: Path, name: str) -> RunDirectory:
    """A new run beside the others; two processes at once get two."""
    home = _inside(runs_dir, runs_dir / name)
    with atomic.disk_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(r.id) for r in existing(runs_dir, name)), default=0)
        while True:
            folder = home / f"{number:03d}"
            try:
                folder.mkdir()
                return RunDirectory(folder)
            except FileExistsError:
                number += 1


def find(target: Path, runs_dir: Path) -> RunDirectory | None:
    """The run that ``target`` names: a folder, or ``name/id`` or ``name`` (newest) in runs_dir."""
    for folder in (target, runs_dir / target):
        if (folder / "run.json").is_file():
            return RunDirectory(folder)
        if folder.is_dir() and any(RUN_ID.fullmatch(d.name) for d in folder.iterdir()):
            return next(existing(folder.parent, folder.name), None)
    return None
