"""Keys that did nothing in a run are named, with the reason; the others are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_texts import GOOD

from ftune.recipe.reading import load_recipe
from ftune.recipe.unread import unread

ALL = ("model", "data", "tune", "train", "evaluate", "distributed")


def found(tmp_path: Path, *overrides: str, reads=ALL, **figures: int) -> dict[str, str]:
    file = tmp_path / "recipe.yaml"
    file.write_text(GOOD, encoding="utf-8")
    loaded = load_recipe(file, overrides)
    known = {"steps": 100, **figures}
    return {one.key: one.why for one in unread(loaded.recipe, loaded.written, reads, known)}


def test_a_key_that_was_read_is_not_named(tmp_path):
    assert found(tmp_path, "name=x", "runs_dir=y") == {}


def test_a_key_that_no_stage_read_is_named(tmp_path):
    reads = {"model.name_or_path", "data.train", "tune.method", "train.objective"}
    keys = found(tmp_path, "train.seed=3", reads=reads)
    assert "train.seed" in keys
    assert "model.name_or_path" not in keys and not any(k.startswith("data.train") for k in keys)


def test_options_of_a_metric_are_read_apart_from_its_name(tmp_path):
    rows = ("data.test=0.5", "evaluate.metrics=[{bleu: {lowercase: true}}]")
    reads = {*ALL[:4], "evaluate.metrics"}
    assert list(found(tmp_path, *rows, reads=reads)) == ["evaluate.metrics.bleu.lowercase"]
    assert found(tmp_path, *rows, reads={*reads, "evaluate.metrics.bleu.lowercase"}) == {}
    plain = ("data.test=0.5", "evaluate.metrics=[{bleu: {}}]")
    assert found(tmp_path, *plain, reads=reads) == {}


def test_an_option_that_is_a_mapping_is_read_as_a_whole(tmp_path):
    weighed = ("train.objective={classification: {class_weights: {a: 2.0, b: 1.0}}}",)
    key = "train.objective.classification.class_weights"
    format_ = ("data.train.0.format=labelled", "evaluate.metrics=[]")
    reads = [*ALL, "train.objective", "data.train.format"]
    told = found(tmp_path, *weighed, *format_, reads=reads)
    assert {one for one in told if one.startswith("train.objective")} == {f"{key}.a", f"{key}.b"}
    told = found(tmp_path, *weighed, *format_, reads=[*reads, key])
    assert not {one for one in told if one.startswith("train.objective")}


def test_generation_without_a_metric_that_needs_it(tmp_path):
    one = "evaluate.generation.max_new_tokens=9"
    [why] = found(tmp_path, one, reads=ALL[:4]).values()
    assert "ftune generate reads it" in why


@pytest.mark.parametrize(
    ("overrides", "figures", "key", "why"),
    [
        (["train.max_steps=5", "train.num_train_epochs=3"], {}, "num_train_epochs", "max_steps"),
        (["train.save_steps=200"], {}, "save_steps", "ended at step 100, before the first"),
        (["train.eval_steps=200", "data.eval=0.1"], {}, "eval_steps", "before the first"),
        (["train.layer_rate_decay=2.0"], {"layers": [{}]}, "layer_rate_decay", "in one layer"),
        (["train.logging_steps=200"], {}, "logging_steps", "only line of metrics"),
        (["train.per_device_eval_batch_size=2"], {}, "per_device_eval_batch_size", "no rows"),
        (
            ["train.early_stopping_patience=3", "data.eval=0.1"],
            {"evaluations": 3},
            "early_stopping_patience",
            "evaluated 3 times only",
        ),
    ],
)
def test_what_never_came_due(tmp_path, overrides, figures, key, why):
    keys = found(tmp_path, *overrides, **figures)
    assert why in keys[f"train.{key}"]
    assert len(keys) == 1


def test_what_came_due_is_not_named(tmp_path):
    due = ("train.save_steps=100", "train.eval_steps=50", "data.eval=0.1")
    patient = ("train.early_stopping_patience=1", "train.per_device_eval_batch_size=2")
    assert found(tmp_path, *due, *patient, evaluations=2) == {}
    assert found(tmp_path, "train.num_train_epochs=2") == {}
