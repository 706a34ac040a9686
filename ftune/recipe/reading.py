"""A recipe file and overrides -> one frozen Recipe, or all that is wrong with them at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.errors import RecipeError
from ftune.recipe import wording
from ftune.recipe.checks import check
from ftune.recipe.choices import Choosing
from ftune.recipe.names import SHIPPED
from ftune.recipe.overrides import apply_overrides
from ftune.recipe.places import KeyPath, Places, Problem
from ftune.recipe.schema import Recipe
from ftune.recipe.source_text import read_text
from ftune.recipe.validating import MOST, validated
from ftune.recipe.yaml_tree import Fault, parse


@dataclass(frozen=True)
class Loaded:
    """A recipe, the file at which its relative paths start, and the text that was read."""

    recipe: Recipe
    path: Path
    text: str
    written: tuple[KeyPath, ...] = ()  # the keys that hold a value, in the file or set on top of it


def load_recipe(
    path: str | Path, overrides: Iterable[str] = (), home: str | Path | None = None
) -> Loaded:
    """The recipe in the file ``path`` with the overrides (``key=value``) set.

    ``name`` is by default the file's name without its ending. ``home`` is the recipe that a
    resolved one was made of: it becomes ``Loaded.path``, so that relative paths start there, and
    files of rows may be gone by then.

    Raises:
        RecipeError: one line for each problem, ``file:line:col: what is wrong; what to do``.
    """
    path = Path(path)
    text = read_text(path)
    plain, places, faults = parse(text, str(path))
    plain = apply_overrides(plain, tuple(overrides), places)
    _place_model(plain, Path(home or path).parent)
    if not isinstance(plain, dict):
        said = f"a recipe must be keys, got {wording.shown(plain)}"
        raise RecipeError(f"{path}:1:1: {said}; begin with `model:`")
    recipe, problems = read(plain, Path(home or path), rows_there=home is None)
    lines = told(problems, faults, places)
    if lines or recipe is None:
        raise RecipeError(*lines)
    return Loaded(recipe, Path(home or path), text, tuple(leaves(plain)))


def _place_model(plain: Any, folder: Path) -> None:
    """Makes the model's path absolute if it is a relative one, which starts at ``folder``.

    ``owner/name`` is a path if there is such a folder, and else a hub id.
    """
    model = plain.get("model") if isinstance(plain, dict) else None
    name = model.get("name_or_path") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(name, str):
        return
    if "\0" in name or name.startswith(("/", "~", SHIPPED)):
        return
    if name.startswith(("./", "../")) or (name and (folder / name).is_dir()):
        model["name_or_path"] = os.path.normpath(folder.absolute() / name)


def leaves(plain: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The paths of all that is neither a mapping nor a list with entries."""
    if isinstance(plain, dict) and plain:
        for key, value in plain.items():
            yield from leaves(value, (*path, key))
    elif isinstance(plain, tuple) and plain:
        for index, value in enumerate(plain):
            yield from leaves(value, (*path, index))
    else:
        yield path


def read(
    plain: dict[str, Any], path: Path, rows_there: bool = True
) -> tuple[Recipe | None, list[Problem]]:
    """The recipe that plain values make, with all problems; ``path`` gives its name and folder.

    Without ``rows_there`` nothing is said of files of rows that can't be found.
    """
    choosing = Choosing()
    chosen = choosing.recipe({"name": path.stem, **plain})
    recipe, problems = validated(Recipe, chosen)
    problems = choosing.problems + problems
    if recipe is not None:  # a rule that would read a faulty key is not heard
        problems += check(recipe, path.parent, [p.path for p in problems], rows_there)
    pointed = [p.points for p in problems if p.points]
    # A foreign name tells where its value belongs: then the section is not missing, but misplaced.
    problems = [
        p for p in problems if not p.missing or not any(_leads_to(target, p) for target in pointed)
    ]
    return recipe, problems


def _leads_to(target: str, problem: Problem) -> bool:
    """Whether the key ``target`` lies in what ``problem`` misses."""
    names = tuple(s for s in problem.path if isinstance(s, str))
    return tuple(target.split("."))[: len(names)] == names


def told(problems: list[Problem], faults: list[Fault], places: Places) -> tuple[str, ...]:
    """Problems as lines in the order of their places; at a fault of the YAML only that.

    Of more than ``MOST`` the last line gives the number.
    """
    marks = {mark for mark, _ in faults}
    found = [((0, *m), f"{places.file}:{m[0]}:{m[1]}: {what}") for m, what in faults]
    for problem in problems:
        order, _ = places.find(problem.path, problem.at_key)
        if not problem.more and (order[0] or order[1:] not in marks):
            found.append((order, places.line(problem)))
    found.sort(key=lambda pair: pair[0])
    lines = list(dict.fromkeys(line for _, line in found))
    more = sum(p.more for p in problems) + len(lines[MOST:])
    rest = [f"{places.file}: and {more:,} problems more; correct these first"] if more else []
    return (*lines[:MOST], *rest)
