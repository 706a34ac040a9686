"""Rows written by prompt templates, one drawn for each row; in a sandbox, with limits.

A template that writes nothing at all for a row is not meant for it (promptsource's ``{% if %}``
round the whole): the next one in the row's own order is taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from ftune.data.chance import uniform
from ftune.data.forming import Setting
from ftune.data.prompt_sets import PromptTemplate
from ftune.data.sandbox import SECONDS, Child
from ftune.errors import DataError, RecipeError
from ftune.types import Example, Message, Row

Written = tuple[list[str], tuple[str, ...]]  # the parts, and the answer choices
SHOWN = 300  # characters of a template's error


class PromptRows:
    """A set of prompt templates, ready to write rows. See ``forming.Forming``."""

    def __init__(
        self, templates: Sequence[PromptTemplate], file: str, ending: str, setting: Setting
    ) -> None:
        """``file`` is what the set is called in messages; ``ending`` is put behind each prompt.

        Raises:
            RecipeError: a template is not right Jinja, or doesn't come to an end.
        """
        self._names = tuple(one.name for one in templates)
        self._file, self._ending, self._setting = file, ending, setting
        self._inline = self._names == (file,)
        self._child = Child(self._late)
        prompts = {one.name: {"parts": one.parts, "choices": one.choices} for one in templates}
        said = self._child.exchange({"prompts": prompts, "seconds": 4 * SECONDS}, 4 * SECONDS)
        if "error" in said:
            raise RecipeError(
                f"{file}: a template is wrong: {said['message']:.{SHOWN}}; correct it, or leave it "
                "out by naming others in only"
            )

    def example(self, row: Row) -> Example:
        """The row as the first of its templates writes it that writes anything.

        Raises:
            DataError: a template fails, leaves one side empty, or none writes anything.
            RecipeError: a template doesn't come to an end, or does what none may.
        """
        names = self._order(row.number)
        for name in names:
            found = self._written(row, name)
            if found is not None:
                return found
        tried = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
        raise DataError(f"no template of {self._file} writes anything for this row ({tried})")

    def like(self, row: Row, other: Example) -> Example | None:
        """The row as the template of ``other`` writes it; None where that writes nothing.

        Raises:
            DataError: it fails, or leaves one side empty.
        """
        return self._written(row, other.template or self._names[0])

    def _order(self, number: int) -> list[str]:
        """All templates in the order in which they are tried for a row."""
        if len(self._names) == 1:
            return list(self._names)
        seed, source = self._setting.seed, self._setting.source
        drawn = {name: uniform(seed, "template", source, number, name) for name in self._names}
        return sorted(drawn, key=lambda name: (drawn[name], name))

    def _written(self, row: Row, name: str) -> Example | None:
        parts, choices = self._parts(row, name)
        filled = [bool(part.strip()) for part in parts]
        if not any(filled):
            return None
        if len(parts) < 2 or not all(filled):
            side = "a target" if len(parts) < 2 or filled[0] else "an input"
            raise DataError(
                f"{self._called(name)} leaves this row without {side}; correct the row or the "
                "template, or leave that out by naming others in only"
            )
        asked, answered, *more = parts
        turns = Message("user", asked + self._ending), Message("assistant", answered)
        named = "" if self._inline else name
        return Example(
            turns, tuple(more), choices=choices, template=named, origin=_digest(row.value)
        )

    def _parts(self, row: Row, name: str) -> Written:
        """What the template writes, and the answer choices of this row."""
        seed, source = self._setting.seed, self._setting.source
        chance = json.dumps([seed, source, row.number, name])
        request = {"name": name, "row": dict(row.value), "chance": chance}
        said = self._child.exchange(request, SECONDS)
        if said.get("error") == "refused":
            there = ", ".join(map(repr, list(row.value)[:20])) or "none"
            raise DataError(
                f"{self._called(name)} fails on this row: {said['message']:.{SHOWN}}; the columns "
                f"are: {there}"
            )
        if "error" in said:
            raise RecipeError(
                f"{row.source}:{row.number}: {self._called(name)} is not safe to use "
                f"({said['message']:.{SHOWN}}); leave it out by naming others in only"
            )
        return said["parts"], tuple(said["choices"])

    def _called(self, name: str) -> str:
        """What a template is called in messages."""
        return f"the template in {name}" if self._inline else f"template {name!r} of {self._file}"

    def _late(self, seconds: float) -> RecipeError:
        return RecipeError(
            f"{self._file}: a template did not end within {seconds:g} seconds, or took too much "
            "memory; it was stopped: look for a loop, or name the templates to use in only"
        )


def _digest(value: Mapping[str, Any]) -> str:
    """What stands for the row, whichever template writes it."""
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=16).hexdigest()
