"""Names and paths: nothing outside of its folder, and what is named is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_texts import GOOD, load, said

from ftune.recipe.reading import load_recipe

ROWS = "ftune:quickstart/train.jsonl"
NAMES = {
    "../x": "holds a /",
    "/etc": "holds a /",
    "a\\\\b": "holds a / or \\",
    "..": "begins with .",
    ".hidden": "begins with .",
    "-rf": "begins with -",
    "~root": "begins with ~",
    "a\\0b": "holds a control character",
    "a\\nb": "holds a control character",
    "a\\u202eb": "holds a control character",
    " a": "begins or ends with a blank",
    "é" * 51: "has more than 100 bytes",
    "": "is empty",
    "a" * 300: "has more than 100 characters",
}


@pytest.mark.parametrize("name", NAMES)
def test_name_of_a_run(name: str, tmp_path: Path) -> None:
    lines = said(f'name: "{name}"\n{GOOD}', tmp_path)
    assert len(lines) == 1
    assert lines[0].startswith("recipe.yaml:1:7: name")
    assert NAMES[name] in lines[0]


@pytest.mark.parametrize("name", ["a", "a b", "$(id)", "Übung-1.2", "é" * 50])
def test_plain_names(name: str, tmp_path: Path) -> None:
    assert load(f'name: "{name}"\n{GOOD}', tmp_path).name == name


def test_a_file_whose_name_is_no_run_name(tmp_path: Path) -> None:
    from ftune.errors import RecipeError
    from ftune.recipe.reading import load_recipe

    file = tmp_path / "-x.yaml"
    file.write_text(GOOD)
    with pytest.raises(RecipeError, match="write a plain one under name:"):
        load_recipe(file)


SOURCES = {
    "row.jsonl": "there is no file row.jsonl; did you mean rows.jsonl?",
    "gone/rows.csv.gz": "the folder",
    "./rows": "there is no file ./rows; did you mean",
    "squad": "is neither a file that is there nor a hub id owner/name",
    "notes": "the ending of notes says nothing",
    "a b": "'a b' is neither a file that is there nor a hub id",
    "a/b/c": "is neither a file that is there nor a hub id",
    "ftune:quickstart/trane.jsonl": "there is no file ftune:quickstart/trane.jsonl; did you mean",
    "ftune:../registry.py": "leads out of what ships with ftune",
    "a\\0.jsonl": "holds a NUL",
}


@pytest.mark.parametrize("path", SOURCES)
def test_sources_that_are_not_there(path: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    (tmp_path / "notes").touch()
    lines = said(GOOD.replace(ROWS, f'"{path}"'), tmp_path)
    assert len(lines) == 1, lines
    assert lines[0].startswith("recipe.yaml:5:13: data.train[0].path")
    assert SOURCES[path] in lines[0]


@pytest.mark.parametrize(
    "path", ["rows.jsonl", "./rows.jsonl", "owner/name", "folder", "ROWS.JSONL.GZ", ROWS]
)
def test_sources_that_are_fine(path: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    (tmp_path / "ROWS.JSONL.GZ").touch()
    (tmp_path / "folder").mkdir()
    assert said(GOOD.replace(ROWS, path), tmp_path) == []


@pytest.mark.parametrize("key", ["split", "subset", "revision"])
def test_keys_of_the_hub_on_a_file(key: str, tmp_path: Path) -> None:
    lines = said(GOOD, tmp_path, f"data.train[0].{key}=test")
    assert len(lines) == 1
    assert "belongs to hub data sets" in lines[0]
    assert said(GOOD.replace(ROWS, "owner/name"), tmp_path, f"data.train[0].{key}=test") == []


TEMPLATES = {
    "chatlm": "'chatlm' is not a template; did you mean chatml? write alpaca, chatml",
    "mine.yaml": "there is no file 'mine.yaml'; did you mean mine2.yaml",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine2.yaml").touch()
    lines = said(GOOD, tmp_path, f"data.template={name}")
    assert lines == [line for line in lines if TEMPLATES[name] in line]
    assert len(lines) == 1
    for there in ("mine2.yaml", "chatml", "tokenizer"):
        assert said(GOOD, tmp_path, f"data.template={there}") == []


MODELS = {
    "ftune:tinny": "'ftune:tinny' does not ship with ftune; write ftune:tiny",
    "./gone": "there is no folder",
    "~nobody-at-all/x": "there is no folder ~nobody-at-all/x",
    "a b": "is neither a folder that is there nor a hub id",
    "a/b/c": "is neither a folder that is there nor a hub id",
    '"a\\0b"': "is neither a folder that is there nor a hub id",
}


@pytest.mark.parametrize("name", MODELS)
def test_models_that_are_not_there(name: str, tmp_path: Path) -> None:
    lines = said(GOOD, tmp_path, f"model.name_or_path={name}")
    assert len(lines) == 1, lines
    assert MODELS[name] in lines[0]


def test_models_that_are_fine(tmp_path: Path) -> None:
    for name in ("gpt2", "Qwen/Qwen3-0.6B", str(tmp_path)):
        assert said(GOOD, tmp_path, f"model.name_or_path={name}") == []
    lines = said(GOOD, tmp_path, f"model.name_or_path={tmp_path}", "model.revision=main")
    assert lines == ["-o model.revision: has no effect on a model in a folder; remove it"]


def test_folder_of_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ('""', '"a\\0b"', str(tmp_path / "file")):
        assert len(said(GOOD, tmp_path, f"runs_dir={path}")) == 1
    assert said(GOOD, tmp_path, f"runs_dir={tmp_path}/new/deep") == []


@pytest.mark.parametrize("written", ["models/tiny", "./models/tiny", "../home/models/tiny"])
def test_a_models_relative_path_starts_at_the_recipes_folder(tmp_path: Path, written: str) -> None:
    (tmp_path / "home" / "models" / "tiny").mkdir(parents=True)
    recipe = tmp_path / "home" / "r.yaml"
    recipe.write_text(
        f"model: {{name_or_path: {written}}}\n"
        "data:\n  train: [{path: 'ftune:quickstart/train.jsonl', format: alpaca}]\n"
        "tune: {method: lora}\ntrain: {}\n"
    )
    found = load_recipe(recipe).recipe.model.name_or_path
    assert found == str(tmp_path / "home" / "models" / "tiny")


def test_a_hub_id_stays_one_where_there_is_no_such_folder(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "model: {name_or_path: owner/name}\n"
        "data:\n  train: [{path: 'ftune:quickstart/train.jsonl', format: alpaca}]\n"
        "tune: {method: lora}\ntrain: {}\n"
    )
    assert load_recipe(recipe).recipe.model.name_or_path == "owner/name"
