"""Plain values -> a section, or all problems that they have, as paths with plain words."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from ftune.recipe import wording
from ftune.recipe.base import Section
from ftune.recipe.fields import first_sentence, key_names, section_at
from ftune.recipe.keys import unknown_key
from ftune.recipe.places import KeyPath, Problem, dotted

Model = TypeVar("Model", bound=Section)
MOST = 100  # problems that are put into words; a data file given as a recipe has thousands


def validated(
    model: type[Model], data: dict[str, Any], base: KeyPath = (), beside: tuple[str, ...] = ()
) -> tuple[Model | None, list[Problem]]:
    """``data``, which stands at ``base`` of the recipe, as a ``model``, and its problems.

    Where there are problems, the model is made of what is left when the faulty keys are taken out,
    so that the checks across sections have something to look at; None if that does not do either.
    ``beside`` are keys that stand in the same mapping and belong to someone else.
    """
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        problems = _problems(error, model, data, base, beside)
    try:
        rest = data
        for problem in problems:
            rest = pruned(rest, problem.path[len(base) :])
        return model.model_validate(rest), problems
    except ValidationError:
        return None, problems


def pruned(data: Any, path: KeyPath) -> Any:
    """``data`` without the key at ``path``, or without the list whose entry that is."""
    if not isinstance(data, dict | tuple) or not path:
        return data
    step, rest = path[0], path[1:]
    if isinstance(data, tuple):
        if not isinstance(step, int) or step >= len(data):
            return data
        return (*data[:step], pruned(data[step], rest), *data[step + 1 :])
    if step not in data or not isinstance(step, str):
        return data
    if all(isinstance(s, int) for s in rest):
        return {k: v for k, v in data.items() if k != step}
    return {**data, step: pruned(data[step], rest)}


def _problems(
    error: ValidationError,
    model: type[Section],
    data: dict[str, Any],
    base: KeyPath,
    beside: tuple[str, ...],
) -> list[Problem]:
    """One problem for each wrong place: the branches of a union are put together."""
    found: dict[KeyPath, list[Any]] = {}
    for one in error.errors(include_url=False):
        loc = one["loc"]
        absent = loc[-1:] if one["type"] == "missing" else ()
        path = (*_steps(loc, data), *absent)
        found.setdefault(path, []).append(one)
    problems = []
    for path, errors in list(found.items())[:MOST]:
        kinds = {e["type"] for e in errors}
        # Another branch of a union fits better where its error stands deeper; and a list from
        # which pydantic took the faulty entries is not therefore too short.
        shallow = kinds <= {*wording.EXPECTED, "too_short"}
        if not (shallow and any(p[: len(path)] == path and p != path for p in found)):
            problems.append(_problem(model, path, errors, base, beside))
    if len(found) > MOST:
        problems.append(Problem(base, "", more=len(found) - MOST))
    return problems


def _problem(
    model: type[Section], path: KeyPath, errors: list[Any], base: KeyPath, beside: tuple[str, ...]
) -> Problem:
    """What the errors at one place come to, in words."""
    full, section = (*base, *path), section_at(model, path)
    kind = errors[0]["type"]
    if kind == "missing":
        return missing(model, path, base)
    if kind == "extra_forbidden":
        around = section_at(model, path[:-1])
        known = key_names(around) if around else ()
        return unknown_key(full, (*known, *(beside if len(path) == 1 else ())))
    others = [e for e in errors if e["type"] not in wording.EXPECTED]
    if others:
        said = wording.wrong_value(others[0])
    else:
        keys = key_names(section) if section else ()
        said = wording.wrong_type([e["type"] for e in errors], errors[0]["input"], keys)
    # A rule of the Config as a whole speaks in sentences of its own.
    return Problem(full, f"{dotted(full)} {said}" if path else f"{dotted(full)}: {said}")


def _steps(loc: tuple[Any, ...], data: Any) -> KeyPath:
    """The steps of pydantic's ``loc`` that lead into ``data``; names of union branches fall out."""
    path: list[str | int] = []
    for step in loc:
        if (isinstance(data, dict) and step in data) or (
            isinstance(data, tuple) and isinstance(step, int) and step < len(data)
        ):
            data = data[step]
            path.append(step)
    return tuple(path)


def missing(model: type[Section], path: KeyPath, base: KeyPath = ()) -> Problem:
    """The problem of a key that must be there."""
    section = section_at(model, path[:-1])
    field = section.model_fields.get(str(path[-1])) if section else None
    full = (*base, *path)
    where = f"under {dotted(full[:-1])}" if len(full) > 1 else "at the left edge"
    what = first_sentence(field.description if field else "")
    what = what[:1].lower() + what[1:]
    return Problem(
        full,
        f"{dotted(full)} is missing; add {path[-1]}: {where}" + (f" ({what})" if what else ""),
        missing=True,
    )
