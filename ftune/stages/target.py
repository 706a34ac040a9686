"""What a verb is pointed at: a run, or a recipe and the run that belongs to it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftune.errors import RecipeError, RunError
from ftune.recipe.reading import Loaded, load_recipe
from ftune.run import directory
from ftune.run.directory import RunDirectory
from ftune.run.pipeline import fingerprints
from ftune.run.stage import Place
from ftune.stages.whole import STAGES


@dataclass(frozen=True)
class Found:
    """A recipe and its run; ``run`` is None where the recipe has none yet."""

    loaded: Loaded
    run: RunDirectory | None

    @property
    def folder(self) -> Path:
        """Where the recipe's relative paths start."""
        return self.loaded.path.parent

    def trained(self) -> RunDirectory:
        """The run, if its training is done.

        Raises:
            RunError: there is none, or it isn't done.
        """
        if self.run is None:
            raise RunError(
                f"{self.loaded.path}: this recipe has no run yet (or was changed since); "
                f"run `ftune train {self.loaded.path}` first, or name a run's folder"
            )
        if not (self.run.stage("train") / "done.json").is_file():
            raise RunError(
                f"{self.run}: its training is not done; "
                f"run `ftune train {self.loaded.path}` again to go on with it"
            )
        return self.run


def find(
    target: str, overrides: Sequence[str], runs_dir: Path, allow_remote_code: bool = False
) -> Found:
    """Resolves ``target``: a recipe file, a run's folder, or ``name`` or ``name/id`` of a run.

    Raises:
        RecipeError: there is no such file or run.
    """
    path = Path(target)
    if path.is_file():
        return _by_recipe(path, overrides, allow_remote_code)
    run = directory.find(path, runs_dir)
    if run is None:
        raise RecipeError(_nothing(target, runs_dir))
    return Found(_recipe_of(run, overrides), run)


def _by_recipe(path: Path, overrides: Sequence[str], allow_remote_code: bool) -> Found:
    loaded = load_recipe(path, overrides).alone()
    place = Place(path.parent, allow_remote_code)
    key = fingerprints(STAGES, loaded.recipe, place, set())["train"]
    for run in directory.existing(Path(loaded.recipe.runs_dir), loaded.recipe.name):
        if run.state().get("fingerprint") == key:
            return Found(loaded, run)
    return Found(loaded, None)


def _recipe_of(run: RunDirectory, overrides: Sequence[str]) -> Loaded:
    """The recipe that a run was made with; its paths start where the recipe file stood."""
    if not run.resolved_file.is_file():
        raise RunError(f"{run}: holds no recipe.resolved.yaml; it stopped before it began")
    home = Path(run.state()["recipe"])
    return load_recipe(run.resolved_file, overrides, home=home)


def _nothing(target: str, runs_dir: Path) -> str:
    names = [d.name for d in runs_dir.iterdir() if d.is_dir()] if runs_dir.is_dir() else []
    near = difflib.get_close_matches(target, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    there = f"runs in {runs_dir}: {', '.join(sorted(names)) or 'none'}"
    return f"{target}: is neither a recipe file nor a run; {hint}{there}"
