"""Keys set on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_texts import GOOD, load, said

from ftune.errors import RecipeError
from ftune.recipe.overrides import read_override, read_path

SET = {
    "a.b=1e-4": (("a", "b"), 1e-4),
    "a=no": (("a",), "no"),
    "a=": (("a",), None),
    "a=0755": (("a",), "0755"),
    "a=x=y": (("a",), "x=y"),
    "a=You are: # kind": (("a",), "You are: # kind"),
    'a="1"': (("a",), "1"),
    "a=[1, x, {b: c}]": (("a",), (1, "x", {"b": "c"})),
    "a={}": (("a",), {}),
    "a[0].b=true": (("a", 0, "b"), True),
    "a.0.b=true": (("a", 0, "b"), True),
    "a[0][1]=1": (("a", 0, 1), 1),
}


@pytest.mark.parametrize("text", SET)
def test_path_and_value(text: str) -> None:
    assert read_override(text) == SET[text]


@pytest.mark.parametrize(
    "text", ["", "a", "=1", "a..b=1", ".a=1", "a.=1", "[0]=1", "0=1", "a[x]=1"]
)
def test_no_override(text: str) -> None:
    with pytest.raises(RecipeError, match="is not key=value"):
        read_override(text)


@pytest.mark.parametrize("text", ["a=[1", "a={b: !!str 1}", "a=.nan", "a={b: 1, b: 2}"])
def test_value_that_cannot_be_read(text: str) -> None:
    with pytest.raises(RecipeError, match=r"^-o a"):
        read_override(text)


def test_a_path_of_no_steps() -> None:
    assert read_path("a b.c") == ("a b", "c")
    assert read_path("a]") == ()


def test_values_are_set(tmp_path: Path) -> None:
    recipe = load(
        GOOD,
        tmp_path,
        "train.seed=7",
        "data.train[0].max_rows=3",
        "data.train.0.weight=2",
        "model.quantization.load_in_4bit=true",
        "evaluate.metrics=[{bleu: {lowercase: true}}]",
        "data.test=0.5",
    )
    assert recipe.train.seed == 7
    assert (recipe.data.train[0].max_rows, recipe.data.train[0].weight) == (3, 2.0)
    assert recipe.model.quantization is not None
    assert recipe.model.quantization.load_in_4bit
    assert recipe.evaluate.metrics[0].config.lowercase


def test_an_override_replaces_what_was_wrong_in_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("1e-4", "fast")
    assert said(text, tmp_path)
    assert load(text, tmp_path, "train.learning_rate=1e-5").train.learning_rate == 1e-5


PROBLEMS = {
    "train.learning_rate=x": "-o train.learning_rate: must be a number, got",
    "lr=1": "-o lr: is not a key of a recipe; write train.learning_rate, which is lr in torchtune",
    "train.lerning_rate=1": "-o train.lerning_rate: is not a key of train; did",
    "data.train[1].path=x": "-o data.train[1].path: data.train has 1 entries, counted from 0",
    "data.train.path=x": "-o data.train.path: data.train is a list; name an entry",
    "model.name_or_path.x=1": "-o model.name_or_path.x: model.name_or_path is text 'ftune:tiny'",
    "model[0]=1": "-o model[0]: model is keys, not a list",
    "tune.method=full": None,
    "tune.method=lorra": "-o tune.method: 'lorra' is not a tuning method; did you mean",
    "data.eval=[{path: ftune:quickstart/eval.jsonl}]": "-o data.eval: data.eval[0].format is",
    "train=": "-o train: must be keys, got nothing",
}


@pytest.mark.parametrize("override", PROBLEMS)
def test_problems_name_the_override(override: str, tmp_path: Path) -> None:
    expected = PROBLEMS[override]
    lines = said(GOOD, tmp_path, override)
    if expected is None:
        assert not lines
    else:
        assert lines[0].startswith(expected)
        assert len(lines) == 1


def test_keys_of_the_old_method_are_told(tmp_path: Path) -> None:
    text = GOOD.replace("method: lora", "method: lora\n  r: 4")
    assert said(text, tmp_path, "tune.method=full") == [
        "recipe.yaml:9:3: tune.r is not a key of tune with this method, but with hra, loha, lokr, "
        "lora, miss, qlora, randlora, vera; remove it or change method"
    ]


def test_the_same_key_twice(tmp_path: Path) -> None:
    assert said(GOOD, tmp_path, "train.seed=1", "train.seed=2") == [
        "-o train.seed: is given twice; keep one of them"
    ]


def test_file_first_then_overrides_in_their_order(tmp_path: Path) -> None:
    lines = said(
        GOOD.replace("1e-4", "x"), tmp_path, "train.seed=x", "model.dtype=x", "data.packing=1"
    )
    places = [line.split(": ")[0] for line in lines]
    assert places == [
        "recipe.yaml:10:18",
        "-o train.seed",
        "-o model.dtype",
        "-o data.packing",
    ]
