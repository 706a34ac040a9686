"""The recipes that ship are right for reader and schema; pages made from code are up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ftune.recipe import reference
from ftune.recipe.reading import load_recipe
from ftune.recipe.resolved import to_yaml
from ftune.recipe.yaml_tree import parse

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "recipes").glob("*.yaml"))
SCHEMA = json.loads((ROOT / "recipes" / "schema.json").read_text(encoding="utf-8"))


def listed(value: Any) -> Any:
    if isinstance(value, tuple):
        return [listed(v) for v in value]
    return {k: listed(v) for k, v in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_recipe(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    plain, _, _ = parse(text, path.name)
    jsonschema.Draft202012Validator(SCHEMA).validate(listed(plain))
    recipe = load_recipe(path).recipe
    resolved = tmp_path / "recipe.resolved.yaml"
    resolved.write_text(to_yaml(recipe), encoding="utf-8")
    assert load_recipe(resolved, home=path).recipe == recipe
    plain, _, _ = parse(resolved.read_text(encoding="utf-8"), "resolved")
    jsonschema.Draft202012Validator(SCHEMA).validate(listed(plain))


def test_a_wrong_recipe_is_no_recipe() -> None:
    plain, _, _ = parse(SHIPPED[0].read_text(encoding="utf-8"), "r.yaml")
    wrong = {**listed(plain), "base_model": "x"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(wrong)


def test_generated_files_have_not_drifted() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run `make docs`"
    assert reference.SCHEMA.read_text(encoding="utf-8") == reference.schema_text(), (
        "run `make docs`"
    )
    assert reference.main(["--check"]) == 0
