"""What holds for every extension, from the moment that its file is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftune.recipe.base import Chosen, Section
from ftune.recipe.choices import Choosing
from ftune.recipe.jsonschema import schema
from ftune.recipe.reference import page
from ftune.recipe.resolved import to_yaml
from ftune.recipe.slots import FAMILIES
from ftune.recipe.yaml_tree import parse

HEAVY = ["torch", "transformers", "peft", "datasets", "accelerate", "bitsandbytes", "pyarrow"]
ALL = [(kind, name) for kind, family in FAMILIES.items() for name in family.names()]
# The functions that a family asks for, besides Config.
HOLDS = {
    "tune": ("attach",),
    "format": ("example",),
    "objective": ("loss",),
    "metrics": ("score", "NEEDS"),
}


def config_of(kind: str, name: str) -> type[Section]:
    found: type[Section] = FAMILIES[kind].load(name).Config
    return found


def test_there_are_some() -> None:
    assert {kind for kind, _ in ALL} == set(FAMILIES)


def test_each_is_imported_alone_without_torch() -> None:
    modules = [f"{FAMILIES[kind].package}.{name}" for kind, name in ALL]
    code = (
        "import importlib, json, sys\n"
        f"heavy, modules = {HEAVY!r}, {modules!r}\n"
        "print(json.dumps({m: [h for h in heavy if h in sys.modules] for m in modules "
        "if importlib.import_module(m) and any(h in sys.modules for h in heavy)}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], text=True, capture_output=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == {}


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_help_and_parts(kind: str, name: str) -> None:
    family = FAMILIES[kind]
    module = family.load(name)
    line = family.help(name)
    assert line == (module.__doc__ or "").splitlines()[0]
    assert 10 < len(line) <= 100
    assert line.endswith(".")
    for part in HOLDS[kind]:
        assert hasattr(module, part), f"{module.__name__} holds no {part}"


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_config(kind: str, name: str) -> None:
    config = config_of(kind, name)
    assert issubclass(config, Section)
    for key, field in config.model_fields.items():
        assert field.description, f"{name}.{key} has no docstring"
        hash(field.default)  # frozen: a list or dict would be shared between recipes


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_appears_in_schema_and_reference(kind: str, name: str) -> None:
    made = json.dumps(schema())
    text = page()
    assert f'"{name}"' in made
    parts = [part.partition("\n#")[0] for part in text.split(f"### `{name}`\n")[1:]]
    [part] = [part for part in parts if FAMILIES[kind].help(name) in part]
    for key in config_of(kind, name).model_fields:
        assert f"| `{key}` |" in part
        assert f'"{key}"' in made


@pytest.mark.parametrize(("kind", "name"), ALL)
@settings(max_examples=15)
@given(data=st.data())
def test_round_trip(kind: str, name: str, data: st.DataObject) -> None:
    """A Config with drawn values is the same after resolved YAML."""
    config = data.draw(configs(config_of(kind, name)))
    recipe = whole(kind, Chosen(name, config))
    plain, _, faults = parse(to_yaml(recipe), "r.yaml")
    choosing = Choosing()
    chosen = choosing.recipe(plain)
    assert not faults
    assert not choosing.problems
    found = {
        "tune": lambda: chosen["tune"],
        "format": lambda: chosen["data"]["train"][0]["format"],
        "objective": lambda: chosen["train"]["objective"],
        "metrics": lambda: chosen["evaluate"]["metrics"][0],
    }[kind]()
    assert found == Chosen(name, config)


def configs(config: type[Section]) -> st.SearchStrategy[Any]:
    """Configs whose booleans, numbers and texts differ from the defaults where they may."""
    from pydantic import ValidationError

    plain = st.sampled_from([True, False, None, "no", "1e-4", "x y", 3, 0.5, ("a", "0755")])

    def build(changes: dict[str, Any]) -> Section:
        kept: dict[str, Any] = {}
        for key, value in changes.items():
            try:
                config.model_validate({**kept, key: value})
            except ValidationError:
                continue
            kept[key] = value
        return config.model_validate(kept)

    keys: dict[str, Any] = dict.fromkeys(config.model_fields, plain)
    texts = st.sampled_from(["no", "1e-4", "x y", "0755"])
    keys |= {key: texts for key, field in config.model_fields.items() if field.is_required()}
    return st.fixed_dictionaries(keys).map(build)


def whole(kind: str, chosen: Chosen) -> Any:
    """A recipe with ``chosen`` in its place."""
    from ftune.recipe.reading import load_recipe

    recipe = load_recipe(Path(__file__).parents[2] / "recipes" / "ci-smoke.yaml").recipe
    if kind == "tune":
        return recipe.model_copy(update={"tune": chosen})
    if kind == "objective":
        train = recipe.train.model_copy(update={"objective": chosen})
        return recipe.model_copy(update={"train": train})
    if kind == "metrics":
        evaluate = recipe.evaluate.model_copy(update={"metrics": (chosen,)})
        return recipe.model_copy(update={"evaluate": evaluate})
    source = recipe.data.train[0].model_copy(update={"format": chosen})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": (source,)})})
