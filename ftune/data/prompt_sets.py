"""A file of prompt templates -> the templates: promptsource's files as they are, or our own.

An own file is a mapping of names: ``{name: {input: "...", target: "...", choices: "..."}}``. Of
promptsource's files (Bach et al. 2022, https://arxiv.org/abs/2202.01279) the tags are read as plain
mappings; nothing is built of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.errors import RecipeError
from ftune.recipe.base import Section
from ftune.recipe.source_text import read_text
from ftune.recipe.validating import validated
from ftune.recipe.yaml_tree import parse

TAGS = frozenset({"!Template", "!TemplateMetadata"})


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """One template in Jinja: an input and a target, or one text with ``|||`` between these.

    ``choices`` is a text with ``|||`` between the answer choices. ``original`` says whether it asks
    for what the data set was made for.
    """

    name: str
    parts: tuple[str, ...]
    choices: str | None = None
    original: bool = True


class OwnPrompt(Section):
    """A template of an own file."""

    input: str
    """What is asked, in Jinja; the columns of the row are its variables."""
    target: str
    """The answer, in Jinja."""
    choices: str | None = None
    """The answers that there are, with ``|||`` between them; ``answer_choices`` in the others."""
    original_task: bool = True
    """Whether it asks for what the data set was made for."""


def read_set(path: Path) -> tuple[PromptTemplate, ...]:
    """The templates in a YAML file, in its order.

    Raises:
        RecipeError: all that is wrong with the file, each with its line and column.
    """
    data, places, faults = parse(read_text(path), str(path), TAGS)
    if faults:
        raise RecipeError(*(f"{path}:{mark[0]}:{mark[1]}: {what}" for mark, what in faults))
    if not isinstance(data, dict) or not data:
        raise RecipeError(
            f"{path}:1:1: prompt templates are a mapping of names, each with input and target "
            "under it; or a templates.yaml of promptsource"
        )
    listed = data.get("templates")
    if isinstance(listed, dict) and any(
        isinstance(t, dict) and "jinja" in t for t in listed.values()
    ):
        return _promptsource(listed, path)
    found, problems = [], []
    for name, written in data.items():
        if not isinstance(written, dict):
            said = f"{places.find((name,))[1]}: {name} must have input and target under it"
            raise RecipeError(said)
        own, wrong = validated(OwnPrompt, written, (name,))
        problems += wrong
        if own is not None:
            found.append(own_template(name, own))
    if problems:
        raise RecipeError(*dict.fromkeys(map(places.line, problems)))
    return tuple(found)


def own_template(name: str, own: Any) -> PromptTemplate:
    """A template that is written as input, target and choices."""
    original = getattr(own, "original_task", True)
    return PromptTemplate(name, (own.input, own.target), own.choices, original)


def _promptsource(listed: Mapping[str, Any], path: Path) -> tuple[PromptTemplate, ...]:
    found: dict[str, PromptTemplate] = {}
    for key, one in listed.items():
        if not isinstance(one, dict) or not isinstance(one.get("jinja"), str):
            raise RecipeError(f"{path}: templates.{key} has no jinja, a text; correct the file")
        name = str(one.get("name") or key).strip()
        while name in found:  # names are not always given once
            name = f"{name} {key}"
        about = one.get("metadata")
        original = bool(about.get("original_task")) if isinstance(about, dict) else False
        choices = one.get("answer_choices")
        found[name] = PromptTemplate(
            name, (one["jinja"],), None if choices is None else str(choices), original
        )
    return tuple(found.values())


def chosen(
    templates: tuple[PromptTemplate, ...], only: tuple[str, ...], original: bool, path: str
) -> tuple[PromptTemplate, ...]:
    """Those that a recipe asks for.

    Raises:
        RecipeError: a name is none of them, or none is left.
    """
    names = ", ".join(repr(one.name) for one in templates)
    absent = [name for name in only if name not in {one.name for one in templates}]
    if absent:
        raise RecipeError(f"{path}: there is no template {absent[0]!r} in it; there are {names}")
    kept = tuple(
        one
        for one in templates
        if (not only or one.name in only) and (one.original or not original)
    )
    if not kept:
        raise RecipeError(
            f"{path}: none of the templates asks for the original task ({names}); leave "
            "original_task_only out, or name others in only"
        )
    return kept
