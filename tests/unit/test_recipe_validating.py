"""Plain values -> sections: unions, own rules of a Config, and what is left without the faults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, model_validator

from ftune.recipe.base import Section
from ftune.recipe.validating import pruned, validated


class Inner(Section):
    size: Annotated[int, Field(ge=1)] = 1
    """How large it is."""


class Outer(Section):
    """Every kind of field that a Config may have."""

    name: str
    """Its name. More is not said."""
    inner: Inner = Inner()
    """A section."""
    many: tuple[Inner, ...] = ()
    """Sections."""
    either: int | tuple[int, ...] | None = None
    """A union."""
    mode: Literal[0, "x", True] = 0
    """A choice."""
    low: float = 0.0
    high: float = 1.0

    @model_validator(mode="after")
    def ordered(self) -> Outer:
        if self.low > self.high:
            raise ValueError("low is above high; exchange them")
        return self


def problems(**data: Any) -> dict[str, str]:
    """Last step of each problem's path -> its message."""
    _, found = validated(Outer, data, ("tune",))
    return {".".join(map(str, p.path)): p.message for p in found}


SAID = {
    "tune.name": ({}, "tune.name is missing; add name: under tune (its name)"),
    "tune.inner.size": (
        {"name": "a", "inner": {"size": 0}},
        "tune.inner.size must be at least 1, got the number 0; write a larger number",
    ),
    "tune.many.1.size": (
        {"name": "a", "many": ({}, {"size": "x"})},
        "tune.many[1].size must be a whole number, got text 'x'; write a whole number",
    ),
    "tune.inner.sise": (
        {"name": "a", "inner": {"sise": 0}},
        "tune.inner.sise is not a key of tune.inner; did you mean size?",
    ),
    "tune.either": (
        {"name": "a", "either": "x"},
        "tune.either must be a whole number or a list, got text 'x'; write [x]",
    ),
    "tune.either.1": (
        {"name": "a", "either": (1, "x")},
        "tune.either[1] must be a whole number, got text 'x'; write a whole number",
    ),
    "tune.mode": (
        {"name": "a", "mode": "true"},
        "tune.mode must be one of 0, x, true, got text 'true'; write true without quotes",
    ),
    "tune": ({"name": "a", "low": 2.0}, "tune: low is above high; exchange them"),
}


@pytest.mark.parametrize("path", SAID)
def test_one_problem_in_plain_words(path: str) -> None:
    data, said = SAID[path]
    assert problems(**data) == {path: said}


def test_what_is_left_without_the_faults() -> None:
    data = {
        "name": "a",
        "low": "x",
        "inner": {"size": 2, "y": 1},
        "many": ({"size": 0}, {"size": 3}),
    }
    model, found = validated(Outer, data)
    assert len(found) == 3
    assert model == Outer(name="a", inner=Inner(size=2), many=(Inner(), Inner(size=3)))
    assert validated(Outer, {"low": 1.0})[0] is None


def test_pruned() -> None:
    tree = {"a": ({"b": 1, "c": 2}, 5), "d": 1}
    assert pruned(tree, ("a", 0, "b")) == {"a": ({"c": 2}, 5), "d": 1}
    assert pruned(tree, ("a", 1)) == {"d": 1}
    assert pruned(tree, ("a", 7, "b")) == tree
    assert pruned(tree, ("x",)) == tree
    assert pruned(tree, ()) == tree
