"""What to say of a key that a recipe does not have: where it belongs, or what was meant."""

from __future__ import annotations

import difflib
from functools import cache

from ftune.recipe.fields import walk
from ftune.recipe.foreign import foreign_name
from ftune.recipe.places import KeyPath, Problem, dotted
from ftune.registry import METHODS, METRICS, OBJECTIVES, Family


def unknown_key(path: KeyPath, known: tuple[str, ...]) -> Problem:
    """The problem of the key at ``path`` whose section has the keys ``known``."""
    name = str(path[-1])
    section = dotted(path[:-1]) or "a recipe"
    said = f"{dotted(path)} is not a key of {section}"
    foreign = foreign_name(path)
    if foreign:
        return Problem(path, f"{said}; {foreign.text}", at_key=True, points=foreign.here)
    if path[0] == "tune" and len(path) == 2:
        others = [m for m in METHODS.names() if name in METHODS.load(m).Config.model_fields]
        if others:
            said += f" with this method, but with {', '.join(others)}; remove it or change method"
            return Problem(path, said, at_key=True)
    index = all_keys()
    homes = [home for home in index.get(name, ()) if home.rpartition(".")[0] != section]
    if homes:
        said += f"; it belongs elsewhere, write {shown(homes)}"
        return Problem(path, said, at_key=True, points=homes[0])
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return Problem(path, f"{said}; did you mean {close[0]}?", at_key=True)
    far = difflib.get_close_matches(name, index, n=1, cutoff=0.8)
    if far:
        return Problem(path, f"{said}; did you mean {shown(index[far[0]])}?", at_key=True)
    there = f"its keys are {', '.join(known)}" if known else "it has no keys, remove this one"
    return Problem(path, f"{said}; {there}", at_key=True)


def shown(homes: list[str]) -> str:
    """Keys of one name; a source's keys are shown once, for the first source of training rows."""
    kept = [h for h in homes if not h.startswith(("data.eval.", "data.test."))]
    return " or ".join(h.replace("data.train.", "data.train[0].") for h in kept)


@cache
def all_keys() -> dict[str, list[str]]:
    """Name -> dotted keys of that name, over the whole recipe and its extensions."""
    from ftune.recipe.schema import Recipe

    index: dict[str, list[str]] = {}
    pairs = [key for key, _ in walk(Recipe)]
    pairs += [f"tune.{key}" for key in _config_keys(METHODS)]
    pairs += [f"train.objective.{key}" for key in _config_keys(OBJECTIVES, named=True)]
    pairs += [f"evaluate.metrics.{key}" for key in _config_keys(METRICS, named=True)]
    for key in pairs:
        homes = index.setdefault(key.rpartition(".")[2], [])
        if key not in homes:
            homes.append(key)
    return index


def _config_keys(family: Family, named: bool = False) -> list[str]:
    """Keys of all Configs of a family, with the extension's name before them if ``named``."""
    return [
        f"{name}.{key}" if named else key
        for name in family.names()
        for key, _ in walk(family.load(name).Config)
    ]
