"""The runs that may be served, by name: nothing a browser says ever becomes a path."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ftune.report.evaluated import evaluation_folders
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

    def evaluations(self) -> dict[str, Path]:
        """Those of ``ftune eval``, by name/id/evaluations/id or name/evaluations/id."""
        root = self.root.resolve()
        homes = [*self.runs().values(), *self._homes()]
        found = [e for home in homes for e in evaluation_folders(home) if _whole(root, e)]
        return {e.relative_to(self.root).as_posix(): e for e in found}

    def sweeps(self) -> dict[str, Path]:
        """The page of each sweep, by the sweep's name."""
        root = self.root.resolve()
        pages = {home.name: home / "sweep.html" for home in self._homes()}
        return {n: p for n, p in pages.items() if p.is_file() and _under(root, (p.parent, p))}

    def _homes(self) -> list[Path]:
        return sorted(f for f in self.root.iterdir() if f.is_dir() and not f.name.startswith("."))

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
    return _under(root, (folder, *(folder / name for name in FILES)))


def _whole(root: Path, folder: Path) -> bool:
    return _under(root, (folder, *(folder / name for name in (*ROOT_FILES, *STAGE_FILES))))


def _under(root: Path, paths: Iterable[Path]) -> bool:
    return all(Path(os.path.realpath(path)).is_relative_to(root) for path in paths)
