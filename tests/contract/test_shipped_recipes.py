"""Every recipe that ships is right for reader and schema, and runs from rows to report."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from small_runs import one_thread
from small_tasks import make_encoder, make_seq2seq

from ftune.recipe.reading import load_recipe
from ftune.recipe.resolved import to_yaml
from ftune.recipe.yaml_tree import parse
from ftune.run.progress import Silent
from ftune.stages.whole import STAGES, Wish, train_recipe

FOLDER = Path(__file__).parents[2] / "recipes"
SHIPPED = sorted(FOLDER.glob("*.yaml"))
SCHEMA = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))
ROWS = "[{path: 'ftune:quickstart/%s.jsonl', format: alpaca, max_rows: %d}]"
# In place of the hub's models and data, and few of everything.
SMALL = (
    "model.name_or_path=ftune:tiny",
    "model.device=cpu",
    f"data.train={ROWS % ('train', 8)}",
    f"data.eval={ROWS % ('eval', 2)}",
    f"data.test={ROWS % ('test', 2)}",
    "train.max_steps=2",
    "train.per_device_train_batch_size=2",
    "train.gradient_accumulation_steps=2",
    "evaluate.generation.max_new_tokens=4",
)
# What a recipe says of its own rows only.
LABELLED = (
    "[{path: 'ftune:quickstart/train.jsonl', format: labelled, max_rows: 8, "
    "columns: {text: input, label: output}}]"
)
OWN = {
    "classification": tuple(f"data.{split}={LABELLED}" for split in ("train", "eval", "test")),
    "many-prompts": ("data.mixture=null", "evaluate.metrics=[token_loss, exact_match]"),
}
# What runs on another shape than that of ftune:tiny, and gives no likelihoods.
SHAPES: dict[str, Callable[..., Path]] = {
    "classification": partial(make_encoder, max_position_embeddings=128),
    "seq2seq": make_seq2seq,
}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's ids are never asked for: a library that tried to would fail."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_there_are_those_that_the_readme_names() -> None:
    names = {path.stem for path in SHIPPED}
    assert {"quickstart", "ci-smoke", "sft-lora", "sft-qlora", "prompt-tuning", "full"} <= names


def listed(value: Any) -> Any:
    if isinstance(value, tuple):
        return [listed(v) for v in value]
    return {k: listed(v) for k, v in value.items()} if isinstance(value, dict) else value


def checked(path: Path) -> Any:
    """What a YAML file holds, after the schema has seen it."""
    plain, _, _ = parse(path.read_text(encoding="utf-8"), path.name)
    jsonschema.Draft202012Validator(SCHEMA).validate(listed(plain))
    return listed(plain)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_reader_and_schema_agree(path: Path, tmp_path: Path) -> None:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert first == "# yaml-language-server: $schema=schema.json"
    assert checked(path)
    recipe = load_recipe(path).recipe
    resolved = tmp_path / "recipe.resolved.yaml"
    resolved.write_text(to_yaml(recipe), encoding="utf-8")
    assert load_recipe(resolved, home=path).recipe == recipe
    assert checked(resolved)


def test_a_wrong_recipe_is_refused_by_the_schema() -> None:
    wrong = {**checked(SHIPPED[0]), "base_model": "x"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(wrong)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_it_explains_what_to_change(path: Path) -> None:
    comments = [x for x in path.read_text(encoding="utf-8").splitlines()[1:] if "# " in x]
    assert comments


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_it_runs_through(path: Path, tmp_path: Path) -> None:
    own = [*OWN.get(path.stem, ()), f"runs_dir={tmp_path / 'runs'}"]
    if path.stem in SHAPES:
        own.append(f"model.name_or_path={SHAPES[path.stem](tmp_path / 'model', longest=512)}")
    given = {one.partition("=")[0]: one for one in (*SMALL, *own)}
    if path.stem == "classification":  # it generates nothing
        del given["evaluate.generation.max_new_tokens"]
    loaded = load_recipe(path, tuple(given.values()))
    as_it_is = load_recipe(path).recipe
    assert loaded.recipe.tune == as_it_is.tune
    assert loaded.recipe.train.optim == as_it_is.train.optim
    assert loaded.recipe.model.quantization == as_it_is.model.quantization
    with one_thread():
        run = train_recipe(loaded, Wish(), Silent())
    assert run.state()["state"] == "done"
    for stage in STAGES:
        assert (run.stage(stage.name) / "done.json").is_file()
    told = json.loads((run.stage("train") / "report.json").read_text(encoding="utf-8"))
    assert told["figures"]["steps"] == 2
    scored = json.loads((run.stage("evaluate") / "report.json").read_text(encoding="utf-8"))
    figure = {"classification": "accuracy", "seq2seq": "rouge1"}.get(path.stem, "token_loss")
    assert figure in {m["name"] for m in scored["figures"]["metrics"]}
    report = (run.folder / "report.md").read_text(encoding="utf-8")
    assert figure.replace("_", "\\_") in report
