"""A recipe file and overrides -> one frozen Recipe, or all that is wrong with them at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.errors import RecipeError
from ftune.recipe import sweeping, wording
from ftune.recipe.checks import check
from ftune.recipe.choices import Choosing
from ftune.recipe.names import SHIPPED
from ftune.recipe.overrides import apply_overrides
from ftune.recipe.places import KeyPath, Places, Problem
from ftune.recipe.schema import Recipe
from ftune.recipe.source_text import read_text
from ftune.recipe.validating import MOST, validated
from ftune.recipe.yaml_tree import Fault, parse

Line = tuple[tuple[int, int, int], str]  # where it is sorted in, and its words


@dataclass(frozen=True)
class Loaded:
    """A recipe, the file at which its relative paths start, and the text that was read."""

    recipe: Recipe
    path: Path
    text: str
    written: tuple[KeyPath, ...] = ()  # the keys that hold a value, in the file or set on top of it
    points: tuple[Point, ...] = ()  # of its sweep

    def alone(self) -> Loaded:
        """This recipe, if it stands for one run.

        Raises:
            RecipeError: it has a sweep.
        """
        if self.points:
            raise RecipeError(
                f"{self.path}: its sweep makes {len(self.points)} runs; `ftune sweep {self.path}` "
                "runs them in turn, and -o sweep=null takes the recipe without it"
            )
        return self


@dataclass(frozen=True)
class Point:
    """One recipe of a sweep: its values by key, and what they are called together."""

    label: str
    values: Mapping[str, Any]
    loaded: Loaded


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
    path, there = Path(path), Path(home or path)
    text = read_text(path)
    plain, places, faults = parse(text, str(path))
    plain = apply_overrides(plain, tuple(overrides), places)
    _place_model(plain, there.parent)
    if not isinstance(plain, dict):
        said = f"a recipe must be keys, got {wording.shown(plain)}"
        raise RecipeError(f"{path}:1:1: {said}; begin with `model:`")
    recipe, problems = read(plain, there, rows_there=home is None)
    axes, wrong = sweeping.axes(plain.get("sweep"), places)
    better = {problem.path for problem in wrong}
    problems = [p for p in problems if p.path not in better] + wrong
    found: list[_Read] = []
    if axes and not wrong:
        name = recipe.name if recipe else there.stem
        found = list(_points(plain, axes, name, places, there, home is None))
    lines = told(problems, faults, places, _apart(found, problems, places))
    if lines or recipe is None:
        raise RecipeError(*lines)
    points = tuple(
        Point(one.label, one.values, Loaded(one.recipe, there, text, tuple(leaves(one.plain))))
        for one in found
        if one.recipe
    )
    return Loaded(recipe, there, text, tuple(leaves(plain)), points)


@dataclass(frozen=True)
class _Read:
    """A point of a sweep as it was read, with what is wrong with it."""

    label: str
    values: Mapping[str, Any]
    plain: dict[str, Any]
    recipe: Recipe | None
    lines: list[tuple[Line, bool]]  # and whether it lies in a value of the sweep


def _points(
    plain: dict[str, Any],
    axes: list[sweeping.Axis],
    name: str,
    places: Places,
    there: Path,
    rows_there: bool,
) -> Iterator[_Read]:
    """Reads all points of a sweep; each has a run's name of its own."""
    for spot in sweeping.spots(axes, name):
        values = {axis.key: axis.values[i] for axis, i in zip(axes, spot.chosen, strict=True)}
        try:
            made = sweeping.put(plain, axes, spot, places)
        except RecipeError as error:
            yield _Read(spot.label, values, {}, None, [(((0, 0, 0), str(error)), True)])
            continue
        _place_model(made, there.parent)
        made["name"] = f"{name},{spot.label}"
        recipe, problems = read(made, there, rows_there)
        lines = []
        if problems:
            there_now = sweeping.moved(places, axes, spot)
            for problem in problems:
                line = there_now.find(problem.path, problem.at_key)[0], there_now.line(problem)
                lines.append((line, line[1] != places.line(problem)))
        yield _Read(spot.label, values, made, recipe, lines)


def _apart(found: list[_Read], problems: list[Problem], places: Places) -> list[Line]:
    """What is wrong with points and not with the recipe itself, each once.

    What lies in no value of the sweep comes of values together: then the point is named.
    """
    seen = {places.line(problem) for problem in problems}
    lines: list[Line] = []
    for one in found:
        for (order, line), inside in one.lines:
            if line not in seen:
                seen.add(line)
                lines.append((order, line if inside else f"{line} (at the point {one.label})"))
    return lines


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


def told(
    problems: list[Problem], faults: list[Fault], places: Places, apart: list[Line]
) -> tuple[str, ...]:
    """Problems as lines in the order of their places; at a fault of the YAML only that.

    ``apart`` are lines that were made elsewhere.

    Of more than ``MOST`` the last line gives the number.
    """
    marks = {mark for mark, _ in faults}
    found = [((0, *m), f"{places.file}:{m[0]}:{m[1]}: {what}") for m, what in faults]
    found += apart
    for problem in problems:
        order, _ = places.find(problem.path, problem.at_key)
        if not problem.more and (order[0] or order[1:] not in marks):
            found.append((order, places.line(problem)))
    found.sort(key=lambda pair: pair[0])
    lines = list(dict.fromkeys(line for _, line in found))
    more = sum(p.more for p in problems) + len(lines[MOST:])
    rest = [f"{places.file}: and {more:,} problems more; correct these first"] if more else []
    return (*lines[:MOST], *rest)
