"""Rules of sources: prompt templates and demonstrations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ftune.recipe.few_shot import FewShot
from ftune.recipe.places import KeyPath, Problem, dotted, unread_key
from ftune.registry import FORMATS


def every(recipe: Any) -> Iterator[tuple[KeyPath, Any]]:
    """All sources of a recipe with their places."""
    for part in ("train", "eval", "test"):
        entries = getattr(recipe.data, part)
        for i, source in enumerate(entries if isinstance(entries, tuple) else ()):
            yield ("data", part, i), source
    for i, source in enumerate(recipe.evaluate.retain):
        yield ("evaluate", "retain", i), source


def prompts(recipe: Any) -> Iterator[Problem]:
    """Templates of a file or one in the recipe, and only the keys of what is chosen."""
    for place, source in every(recipe):
        if source.format.name != "prompts" or source.format.config is None:
            continue
        config, at = source.format.config, (*place, "columns")
        fields = FORMATS.load("prompts").Config.model_fields
        if config.templates is None and (config.input is None or config.target is None):
            yield Problem(
                at,
                f"{dotted(at)} of format: prompts needs templates, a file, or input and target, "
                "two texts; add them",
            )
            continue
        other: tuple[str, ...] = ("only", "original_task_only")
        why = "without templates, a file of them; remove it, or name one"
        if config.templates is not None:
            other = ("input", "target", "choices")
            why = "beside templates; remove one of them"
        for key in other:
            yield from unread_key((*at, key), getattr(config, key), fields[key].default, why)


def few_shot(recipe: Any) -> Iterator[Problem]:
    """Demonstrations stand before questions that are written, and only keys that count."""
    for place, source in every(recipe):
        section, at = source.few_shot, (*place, "few_shot")
        if section is None or source.format.config is None:
            continue
        if hasattr(FORMATS.load(source.format.name), "GIVES") or source.format.name == "text":
            yield Problem(
                at,
                f"{dotted(at)}: rows of format: {source.format.name} have no question and answer "
                "that could be shown; remove few_shot, or take another format",
            )
        if section.as_turns:
            for key in ("separator", "between"):
                default = FewShot.model_fields[key].default
                why = "with as_turns: true, which writes them as the template does; remove it"
                yield from unread_key((*at, key), getattr(section, key), default, why)


RULES: tuple[Callable[[Any], Iterator[Problem]], ...] = (prompts, few_shot)
