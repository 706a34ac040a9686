"""YAML text -> values and places, beside PyYAML's own; and text that attacks."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ftune.errors import RecipeError
from ftune.recipe import yaml_tree
from ftune.recipe.scalars import is_plain_text
from ftune.recipe.yaml_tree import parse

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])).filter(is_plain_text)
)
KEYS = st.text("abcdefghij_", min_size=1)
TREES = st.recursive(
    SCALARS, lambda t: st.lists(t, max_size=4) | st.dictionaries(KEYS, t, max_size=4), max_leaves=12
)


def listed(value: Any) -> Any:
    """Tuples as lists, to compare with PyYAML."""
    if isinstance(value, tuple):
        return [listed(v) for v in value]
    return {k: listed(v) for k, v in value.items()} if isinstance(value, dict) else value


def marks(node: yaml.Node, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Line and column of each node as PyYAML's composer has them."""
    found = {path: (node.start_mark.line + 1, node.start_mark.column + 1)}
    if isinstance(node, yaml.SequenceNode):
        for i, inner in enumerate(node.value):
            found |= marks(inner, (*path, i))
    elif isinstance(node, yaml.MappingNode):
        for key, inner in node.value:
            found |= marks(inner, (*path, key.value))
    return found


@given(TREES, st.booleans())
def test_reads_what_pyyaml_writes(tree: Any, flow: bool) -> None:
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    value, places, faults = parse(text, "r.yaml")
    assert not faults
    assert listed(value) == tree
    assert places.values == marks(yaml.compose(text, Loader=yaml.SafeLoader))


def test_places_of_keys() -> None:
    _, places, _ = parse("a:\n  b: [1,\n   x]\n", "r.yaml")
    assert places.keys == {("a",): (1, 1), ("a", "b"): (2, 3)}
    assert places.values["a", "b", 1] == (3, 4)


def test_aliases_are_read() -> None:
    value, places, _ = parse("a: &x {k: 1}\nb: *x\nc: &n lora\nd: *n\n", "r.yaml")
    assert value == {"a": {"k": 1}, "b": {"k": 1}, "c": "lora", "d": "lora"}
    assert places.values["b", "k"] == (1, 11)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
REFUSED = {
    "tab": ("a:\n\tb: 1", "r.yaml:2:1: a tab"),
    "tab behind blanks": ("a:\n  b: 1\n \tc: 2", "r.yaml:3:2: a tab"),
    "bomb": (BOMB, "r.yaml:5:15: here the recipe has more than 20,000 values"),
    "deep lists": ("[" * 20_000 + "]" * 20_000, "r.yaml:1:51: is nested more than 50 deep"),
    "deep keys": ("".join(f"{' ' * i}a:\n" for i in range(60)), "r.yaml:51:"),
    "wide": ("a: [" + "1, " * 30_000 + "]", "more than 20,000 values"),
    "alias in itself": ("a: &a [*a]", "r.yaml:1:8: the alias *a stands inside its own anchor"),
    "unknown alias": ("a: *b", "r.yaml:1:4: the alias *b is unknown"),
    "list as key": ("? [a]\n: 1", "r.yaml:1:3: a key must be plain text"),
    "two documents": ("a: 1\n---\nb: 2", "r.yaml:2:1: a second document"),
    "empty": ("# nothing\n", "r.yaml:1:1: the recipe is empty"),
    "open quote": ('a: "x', "r.yaml:1:6: a quote is opened here"),
    "open bracket": ("a: [1", "a ',' or the closing bracket is missing"),
    "colon in text": ("a: b: c", "r.yaml:1:5: a ': ' stands where none can be"),
    "at sign": ("a: @x", "r.yaml:1:4: this character can't begin a value"),
    "indentation": ("a:\n   b: 1\n  c: 2", "r.yaml:3:3: the indentation fits no line above"),
    "long key": ("? " + "x" * 5000 + "\n: 1", "r.yaml:1:3: a key of 5,000 characters"),
    "no colon": ("a: 1\nb\nc: 2", "r.yaml:"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_parser_in_python_refuses_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_tree, "LOADER", yaml.SafeLoader)
    with pytest.raises(RecipeError, match=r"^r\.yaml:\d+:\d+: "):
        parse(REFUSED[name][0], "r.yaml")


@pytest.mark.parametrize("name", REFUSED)
def test_refused_at_once(name: str) -> None:
    text, expected = REFUSED[name]
    with pytest.raises(RecipeError) as caught:
        parse(text, "r.yaml")
    assert expected in caught.value.problems[0]


FAULTS = {
    "tag": ("a: !!python/object/apply:os.system [x]", (1, 4), "!!python/object/apply:os.system"),
    "string tag": ("a: !!str 1", (1, 4), "!!str"),
    "own tag": ("a: ! x", (1, 4), "the tag !"),
    "key's tag": ("!!str a: 1", (1, 1), "!!str"),
    "merge": ("a: &a {b: 1}\nc:\n  <<: *a", (3, 3), "the merge key << is not allowed"),
    "twice": ("a: 1\nb: 2\na: 3", (3, 1), "a stands here again (first in line 1); keep one"),
    "nan": ("a: .nan", (1, 4), "not a number that a recipe can hold"),
    "too large": ("a: 1e999", (1, 4), "too large"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_told_with_their_place(name: str) -> None:
    text, mark, expected = FAULTS[name]
    _, _, faults = parse(text, "r.yaml")
    assert [m for m, _ in faults] == [mark]
    assert expected in faults[0][1]


def test_a_tag_builds_nothing(tmp_path: Any) -> None:
    canary = tmp_path / "canary"
    parse(f"a: !!python/object/apply:os.system ['touch {canary}']", "r.yaml")
    assert not canary.exists()
