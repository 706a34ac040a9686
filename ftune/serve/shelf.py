"""The runs that may be served, by name: nothing a browser says ever becomes a path."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ftune.report.finding import run_folders
from ftune.report.gather import STAGES
from ftune.report.state import state_of
from ftune.report.tolerant import read_json

# All that the pages are made of.
ROOT_FILES = (
    "run.json", "lock.json", "recipe.yaml", "recipe.resolved.yaml", "environment.json",
)  # fmt: skip
STAGE_FILES = ("report.json", "metrics.jsonl", "predictions.jsonl", "preview.md")
FILES = (*ROOT_FILES, *(f"{stage}/{name}" for stage in STAGES for name in STAGE_FILES))


@dataclass(frozen=True, slots=True)
class Shelf:
    """The runs below a folder."""

    root: Path

    def runs(self) -> dict[str, Path]:
        """Their folders by name/id, newest first. A run of which a file lies outside the folder,
        by a symbolic link, is left out."""
        root = self.root.resolve()
        found = (f for f in run_folders(self.root) if _inside(root, f))
        return {f"{folder.parent.name}/{folder.name}": folder for folder in found}

    def state(self, folders: Iterable[Path]) -> str:
        """A digest that changes when a file of these runs does, or how one of them stands."""
        digest = hashlib.sha256()
        for folder in folders:
            state = state_of(folder, read_json(folder / "run.json", []))  # a killed one writes none
            name = f"{folder.parent.name}/{folder.name} {state}\n"
            digest.update(name.encode("utf-8", "replace"))
            for name in FILES:
                try:
                    there = (folder / name).stat()
                except OSError:
                    continue
                digest.update(f"{name} {there.st_size} {there.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def _inside(root: Path, folder: Path) -> bool:
    paths = (folder, *(folder / name for name in FILES))
    return all(Path(os.path.realpath(path)).is_relative_to(root) for path in paths)
