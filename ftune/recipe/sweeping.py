"""``sweep:`` of a recipe: lists of values for its keys, and the grid of points that they make.

Knows nothing of what the keys mean: a point is the plain recipe with one value of each key in
place, and its places point at these values, so that it is read and checked like any other.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from ftune.recipe.overrides import read_path, set_value
from ftune.recipe.places import KeyPath, Places, Problem, dotted
from ftune.recipe.view import COSMETIC

MOST_POINTS = 500
LONGEST = 40  # characters of a value in a run's name
LONGEST_NAME = 100  # bytes
ODD = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True)
class Axis:
    """A key with its values; ``at`` is where they stand in the recipe."""

    path: KeyPath
    values: tuple[Any, ...]
    at: KeyPath

    @property
    def key(self) -> str:
        """The key as messages and tables show it."""
        return dotted(self.path)


@dataclass(frozen=True)
class Spot:
    """A point of the grid: which value each axis has there, by number, and its name."""

    chosen: tuple[int, ...]
    label: str


def axes(section: Any, places: Places) -> tuple[list[Axis], list[Problem]]:
    """The axes of a plain ``sweep:`` section, and what is wrong with them.

    What is no list, or an empty one, is left to the schema.
    """
    found: list[Axis] = []
    problems: list[Problem] = []
    for key, values in section.items() if isinstance(section, dict) else ():
        if isinstance(values, dict) and values:
            said = f"must be a list of values, got keys; write {key}.{next(iter(values))}: [...]"
            problems.append(Problem(("sweep", key), f"sweep.{key} {said}"))
        if not isinstance(values, tuple) or not values:
            continue
        axis = Axis(read_path(key), values, ("sweep", key))
        wrong = list(_problems(axis, key, found, places))
        problems += wrong
        if not wrong:
            found.append(axis)
    count = math.prod(len(axis.values) for axis in found)
    if count > MOST_POINTS:
        said = f"sweep makes {count:,} points, and at most {MOST_POINTS} are run; leave out values"
        problems.append(Problem(("sweep",), said, at_key=True))
    return found, problems


def _problems(axis: Axis, key: str, before: list[Axis], places: Places) -> Iterator[Problem]:
    if not axis.path:
        said = f"sweep.{key} is no key; write it with dots, as in train.learning_rate"
        yield Problem(axis.at, said, at_key=True)
        return
    if axis.key in COSMETIC or axis.path[0] in ("name", "sweep"):
        said = f"sweep.{axis.key} changes nothing in what a run computes; remove it"
        yield Problem(axis.at, said, at_key=True)
    for other in before:
        short, long = sorted((axis.path, other.path), key=len)
        if long[: len(short)] == short:
            where = places.find(other.at, at_key=True)[1]
            twice = "stands here again" if short == long else f"lies in the same as {other.key}"
            said = f"sweep.{axis.key} {twice} ({where}); keep one of them"
            yield Problem(axis.at, said, at_key=True)
    for path in places.labels:
        if path[: len(axis.path)] == axis.path:
            said = f"{dotted(path)} is set by the sweep too ({places.find(axis.at, True)[1]})"
            yield Problem(path, f"{said}; remove one of them, or take -o sweep=null besides")
    for i, value in enumerate(axis.values):
        if any(_same(value, other) for other in axis.values[:i]):
            said = f"sweep.{axis.key}: {written(value)} is there already; keep one of them"
            yield Problem((*axis.at, i), said)


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def spots(found: list[Axis], name: str) -> list[Spot]:
    """All points, the last key's values changing first; each named like no other.

    A name says the values; where that would be too long, it says their numbers.
    """
    keys = _short_keys(found)
    made = [tuple(range(len(axis.values))) for axis in found]
    words = [_words(axis.values) for axis in found]
    numbers = [[f"v{i + 1}" for i in span] for span in made]

    def labels(shown: list[list[str]]) -> list[str]:
        pairs = [[f"{key}={word}" for word in row] for key, row in zip(keys, shown, strict=True)]
        return [",".join(each) for each in product(*pairs)]

    chosen = labels(words)
    if any(len(f"{name},{label}".encode()) > LONGEST_NAME for label in chosen):
        chosen = labels(numbers)
    return [Spot(at, label) for at, label in zip(product(*made), chosen, strict=True)]


def _short_keys(found: list[Axis]) -> list[str]:
    """The last step of each key, or the whole of it where two keys end alike."""
    last = [next(str(s) for s in reversed(axis.path) if isinstance(s, str)) for axis in found]
    whole = [".".join(map(str, axis.path)) for axis in found]
    unique = all(last.count(key) == 1 for key in last)
    return [ODD.sub("_", key) for key in (last if unique else whole)]


def _words(values: tuple[Any, ...]) -> list[str]:
    """Values as a folder's name can hold them; their numbers where that isn't possible."""
    found = [_word(value) for value in values]
    if len(set(found)) < len(found) or any(not w or len(w) > LONGEST for w in found):
        return [f"v{i + 1}" for i in range(len(values))]
    return found


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return ""
    if isinstance(value, tuple):
        parts = [_word(each) for each in value]
        return "+".join(parts) if all(parts) else ""
    return ODD.sub("_", value if isinstance(value, str) else json.dumps(value)).strip("_")


def written(value: Any) -> str:
    """A value as ``-o`` takes it: text that needs no quotes without them, else JSON."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./-]*", value):
        return json.dumps(value) if value.lower() in ("null", "true", "false") else value
    return json.dumps(value, ensure_ascii=False)


def put(plain: dict[str, Any], found: list[Axis], spot: Spot, places: Places) -> dict[str, Any]:
    """The plain recipe at a point, without ``sweep:``.

    Raises:
        RecipeError: a key leads through what has no keys.
    """
    out = {key: value for key, value in plain.items() if key != "sweep"}
    for axis, i in zip(found, spot.chosen, strict=True):
        label = places.find(axis.at, at_key=True)[1]
        out = set_value(out, axis.path, axis.values[i], (), label)
    return out


def moved(places: Places, found: list[Axis], spot: Spot) -> Places:
    """Places in which the keys of the sweep stand where their values at the point do."""
    out = Places(places.file, dict(places.keys), dict(places.values), dict(places.labels))
    for axis, i in zip(found, spot.chosen, strict=True):
        label = places.find(axis.at)[1] if axis.at not in places.keys else ""
        out.override(axis.path, label)
        if label:  # the sweep itself was set on the command line
            continue
        del out.labels[axis.path]
        mark, at = places.keys[axis.at], (*axis.at, i)
        for length in range(1, len(axis.path) + 1):
            out.keys.setdefault(axis.path[:length], mark)
        for known, kept in ((places.keys, out.keys), (places.values, out.values)):
            for path, place in known.items():
                if path[: len(at)] == at:
                    kept[(*axis.path, *path[len(at) :])] = place
    return out
