"""``-o train.learning_rate=1e-4``: single keys set on the command line."""

from __future__ import annotations

import re
from typing import Any

from ftune.errors import RecipeError
from ftune.recipe import wording
from ftune.recipe.places import KeyPath, Places, dotted
from ftune.recipe.scalars import plain_scalar
from ftune.recipe.yaml_tree import parse

STEP = re.compile(r"([^.\[\]=]+)|\[(\d{1,6})\]")


def apply_overrides(plain: Any, overrides: tuple[str, ...], places: Places) -> Any:
    """The plain recipe with the overrides set, in their order; their places are noted.

    Raises:
        RecipeError: some can't be read or set; one line for each.
    """
    problems: list[str] = []
    for text in overrides:
        try:
            path, value = read_override(text)
            label = f"-o {dotted(path)}"
            if label in places.labels.values():
                raise RecipeError(f"{label}: is given twice; keep one of them")
            plain = set_value(plain, path, value, (), label)
        except RecipeError as error:
            problems += error.problems
        else:
            places.override(path, label)
    if problems:
        raise RecipeError(*problems)
    return plain


def read_override(text: str) -> tuple[KeyPath, Any]:
    """Path and value of ``key.key[0]=value``; the value follows the rules of a recipe's values."""
    key, equals, raw = text.partition("=")
    key, raw = key.strip(), raw.strip()
    path = read_path(key)
    if not equals or not path:
        raise RecipeError(
            f"-o {text}: is not key=value; write for instance -o train.learning_rate=1e-4"
        )
    if raw[:1] in ("[", "{", "'", '"'):
        value, _, faults = parse(raw, f"-o {key}")
        if faults:
            raise RecipeError(*(f"-o {key}: {what}" for _, what in faults))
        return path, value
    try:
        return path, plain_scalar(raw)
    except ValueError as error:
        raise RecipeError(f"-o {key}: {error}") from None


def read_path(key: str) -> KeyPath:
    """``data.train[0].path`` or ``data.train.0.path`` as steps; empty where it is no path."""
    path: list[str | int] = []
    at = 0
    while at < len(key):
        match = STEP.match(key, at)
        if not match:
            return ()
        name, index = match.groups()
        path.append(int(index) if index else int(name) if re.fullmatch(r"\d{1,6}", name) else name)
        at = match.end()
        if key[at : at + 1] == ".":
            at += 1
            if at == len(key):
                return ()
        elif at < len(key) and key[at] != "[":
            return ()
    return tuple(path) if path and isinstance(path[0], str) else ()


def set_value(plain: Any, path: KeyPath, value: Any, done: KeyPath, label: str) -> Any:
    """``plain``, which stands at ``done``, with ``value`` at ``path`` below it."""
    if not path:
        return value
    step, here = path[0], dotted(done)
    if isinstance(step, int):
        if not isinstance(plain, tuple):
            raise RecipeError(
                f"{label}: {here} is {wording.shown(plain)}, not a list; set {here} as a whole"
            )
        if step >= len(plain):
            raise RecipeError(
                f"{label}: {here} has {len(plain)} entries, counted from 0; "
                f"set {here}=[...] as a whole to add one"
            )
        inner = set_value(plain[step], path[1:], value, (*done, step), label)
        return (*plain[:step], inner, *plain[step + 1 :])
    if plain is None:
        plain = {}
    if isinstance(plain, tuple):
        raise RecipeError(f"{label}: {here} is a list; name an entry, as in {here}[0].{step}")
    if not isinstance(plain, dict):
        raise RecipeError(
            f"{label}: {here} is {wording.shown(plain)} and has no keys; set {here} as a whole"
        )
    inner = set_value(plain.get(step), path[1:], value, (*done, step), label)
    return {**plain, step: inner}
