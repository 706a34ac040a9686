"""What a stage may read of a recipe, and what it read."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from recipe_texts import GOOD, load

from ftune.recipe.base import Section
from ftune.recipe.schema import Recipe
from ftune.recipe.view import COSMETIC, View, plain


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return load(GOOD, tmp_path, "evaluate.metrics=[{bleu: {lowercase: true}}]", "data.test=0.5")


def view(recipe: Recipe, *allowed: str) -> tuple[Any, set[str]]:
    reads: set[str] = set()
    return View(recipe, "", allowed, reads), reads


READS = [
    ("train", lambda r: r.train.learning_rate, 1e-4, "train.learning_rate"),
    ("train.seed", lambda r: r.train.seed, 42, "train.seed"),
    ("tune", lambda r: r.tune.name, "lora", "tune.method"),
    ("tune", lambda r: r.tune.config.r, 16, "tune.r"),
    ("data", lambda r: r.data.train[0].format.name, "alpaca", "data.train.format"),
    (
        "data.train",
        lambda r: r.data.train[0].format.config.input,
        "input",
        "data.train.columns.input",
    ),
    ("data", lambda r: r.data.eval, (), "data.eval"),
    ("data", lambda r: r.data.test, 0.5, "data.test"),
    ("model.quantization", lambda r: r.model.quantization, None, "model.quantization"),
    ("train", lambda r: r.train.objective.name, "sft", "train.objective"),
    ("evaluate", lambda r: r.evaluate.metrics[0].name, "bleu", "evaluate.metrics"),
    (
        "evaluate.metrics",
        lambda r: r.evaluate.metrics[0].config.lowercase,
        True,
        "evaluate.metrics.bleu.lowercase",
    ),
    ("name", lambda r: r.name, "recipe", "name"),
]


@pytest.mark.parametrize(("allowed", "read", "value", "key"), READS)
def test_values_are_read_and_noted(
    recipe: Recipe, allowed: str, read: Any, value: object, key: str
) -> None:
    shown, reads = view(recipe, allowed)
    assert read(shown) == value
    assert reads == {key}
    refused, reads = view(recipe, "model.dtype")
    with pytest.raises(AttributeError, match="is outside of what is declared"):
        read(refused)
    assert not reads


def test_the_way_to_what_is_allowed_is_no_licence(recipe: Recipe) -> None:
    shown, _ = view(recipe, "data.train.path")
    assert shown.data.train[0].path
    with pytest.raises(AttributeError, match=r"data\.train\.weight is outside"):
        _ = shown.data.train[0].weight
    with pytest.raises(AttributeError, match=r"data\.packing is outside"):
        _ = shown.data.packing
    shown, _ = view(recipe, "train.seed")
    with pytest.raises(AttributeError, match=r"train\.seed_of_something"):
        _ = View(recipe, "", ("train.seed_of_something",), set()).train.seed


def test_no_such_key(recipe: Recipe) -> None:
    shown, _ = view(recipe, "train")
    with pytest.raises(AttributeError, match="train has no key 'rate'"):
        _ = shown.train.rate
    assert not hasattr(shown.train, "_private")
    with pytest.raises(AttributeError):
        shown.train.seed = 1


def test_all_keys_at_once(recipe: Recipe) -> None:
    shown, reads = view(recipe, "evaluate.generation", "evaluate.metrics", "tune")
    assert shown.evaluate.generation.model_dump() == recipe.evaluate.generation.model_dump()
    assert {"evaluate.generation.stop", "evaluate.generation.seed"} <= reads
    assert dict(shown.tune.config) == dict(recipe.tune.config)
    assert "tune.use_dora" in reads
    assert shown.evaluate.metrics[0].model_dump()["name"] == "bleu"


def test_properties_and_methods_read_through_the_view(recipe: Recipe) -> None:
    class Rates(Section):
        low: float = 1.0
        high: float = 2.0

        @property
        def middle(self) -> float:
            return (self.low + self.high) / 2

        def above(self, value: float) -> bool:
            return value > self.high

    reads: set[str] = set()
    shown = View(Rates(), "rates", ("rates",), reads)
    assert shown.middle == 1.5
    assert shown.above(3.0)
    assert reads == {"rates.low", "rates.high"}


def test_a_view_is_equal_and_travels(recipe: Recipe) -> None:
    shown, _ = view(recipe, "train")
    again = pickle.loads(pickle.dumps(shown.train))
    assert again == shown.train
    assert again.seed == 42


def keys(value: Any, prefix: str) -> Iterable[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from keys(inner, f"{prefix}.{key}")
    else:
        yield prefix


def test_plain_leaves_out_what_is_cosmetic(recipe: Recipe) -> None:
    everything = plain(recipe, [*Recipe.model_fields, "tune.r", "data.train.path"])
    found = {key for name, value in everything.items() for key in keys(value, name)}
    assert not found & COSMETIC
    assert {"tune.r", "train.learning_rate", "evaluate.generation.seed"} <= found
    assert everything["tune.r"] == 16
    assert everything["data.train.path"] == ["ftune:quickstart/train.jsonl"]
    assert plain(recipe, ["name"]) == {}


def test_cosmetic_keys_are_keys() -> None:
    from ftune.recipe.fields import walk

    assert {key for key, _ in walk(Recipe)} >= COSMETIC


def test_plain_changes_with_every_other_key(recipe: Recipe, tmp_path: Path) -> None:
    for override in ("tune.r=4", "train.objective=sft", "data.train[0].columns.input=x"):
        changed = load(GOOD, tmp_path, override)
        same = plain(changed, list(Recipe.model_fields)) == plain(
            load(GOOD, tmp_path), list(Recipe.model_fields)
        )
        assert same == (override == "train.objective=sft")
