"""Walking the fields of sections, by path or one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic.fields import FieldInfo

from ftune.recipe.base import Section
from ftune.recipe.places import KeyPath

BESIDE = {"Source": ("columns",)}  # keys that belong to a format's Config


def section_in(annotation: Any) -> type[Section] | None:
    """The section that an annotation holds, inside tuples and unions too."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((s for a in get_args(annotation) if (s := section_in(a))), None)


def section_at(model: type[Section], path: KeyPath) -> type[Section] | None:
    """The section class at ``path`` under ``model``; None where no section stands there."""
    here: type[Section] | None = model
    for step in path:
        if isinstance(step, str):
            field = here.model_fields.get(step) if here else None
            here = section_in(field.annotation) if field else None
    return here


def key_names(model: type[Section]) -> tuple[str, ...]:
    """The keys that a section takes in a recipe."""
    return (*model.model_fields, *BESIDE.get(model.__name__, ()))


def walk(model: type[Section], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every field under ``model`` with its dotted key (no indexes), sections before their keys."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        yield key, field
        inner = section_in(field.annotation)
        if inner:
            yield from walk(inner, f"{key}.")


def first_sentence(text: str | None) -> str:
    """The first sentence of a description, in one line, without its full stop."""
    line = " ".join((text or "").split())
    return line.partition(". ")[0].partition("; ")[0].rstrip(".")
