"""The JSON schema: valid itself, and of one mind with the reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from recipe_texts import GOOD, said

from ftune.recipe.jsonschema import schema


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good recipe with ``value`` at ``path``; without the key if that is ``...``."""
    plain = yaml.safe_load(GOOD)
    plain["train"]["learning_rate"] = 1e-4
    here: Any = plain
    *way, last = [int(s) if s.isdigit() else s for s in path.split(".")]
    for step in way:
        here = here.setdefault(step, {}) if isinstance(step, str) else here[step]
    if value is ...:
        del here[last]
    else:
        here[last] = value
    return plain


WRONG: list[tuple[str, Any]] = [
    ("lr", 1),
    ("model", ...),
    ("model", None),
    ("tune", ...),
    ("tune.method", ...),
    ("tune.method", "lorra"),
    ("tune.lora_rank", 8),
    ("tune.r", 0),
    ("tune.num_virtual_tokens", 8),
    ("tune.target_modules", 5),
    ("data.train", []),
    ("data.train", {"path": "x"}),
    ("data.train.0.format", ...),
    ("data.train.0.format", "alpacca"),
    ("data.train.0.columns", {"messages": "m"}),
    ("data.train.0.columns", {"input": 5}),
    ("data.eval", 1.5),
    ("data.eval", "x"),
    ("train.learning_rate", "1e-4"),
    ("train.learning_rate", 0),
    ("train.max_steps", 1.5),
    ("train.optim", "adam"),
    ("train.objective", "stf"),
    ("train.objective", {"sft": {"x": 1}}),
    ("train.report_to", "wandb"),
    ("evaluate.metrics", "rouge"),
    ("evaluate.metrics", ["rogue"]),
    ("evaluate.metrics", [{"bleu": {"x": 1}}]),
    ("evaluate.metrics", [{"bleu": {}, "rouge": {}}]),
    ("distributed.mixed_precision", False),
    ("evaluate.generation.top_p", 2),
]
RIGHT: list[tuple[str, Any]] = [
    ("name", "x"),
    ("train", ...),
    ("train", {}),
    ("tune.r", 4),
    ("tune.target_modules", ["q_proj"]),
    ("tune", {"method": "full"}),
    ("tune", {"method": "prompt_tuning", "num_virtual_tokens": 4}),
    ("data.train.0.columns", {"input": None, "output": "answer"}),
    ("data.eval", 0.5),
    ("data.eval", [{"path": "ftune:quickstart/eval.jsonl", "format": "alpaca"}]),
    ("model.quantization", None),
    ("train.learning_rate", 1),
    ("train.objective", {"sft": {}}),
    ("train.objective", {"sft": None}),
    ("train.max_grad_norm", None),
]


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_both_refuse(
    path: str, value: Any, validator: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    plain = changed(path, value)
    assert not validator.is_valid(plain)
    assert said(json.dumps(plain), tmp_path)


@pytest.mark.parametrize(("path", "value"), RIGHT)
def test_both_accept(
    path: str, value: Any, validator: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    plain = changed(path, value)
    assert said(json.dumps(plain), tmp_path) == []
    validator.validate(plain)


def test_every_key_has_a_meaning() -> None:
    def check(node: Any, where: str) -> None:
        if isinstance(node, list):
            for i, inner in enumerate(node):
                check(inner, f"{where}[{i}]")
        if not isinstance(node, dict):
            return
        for key, inner in node.items():
            if key == "properties" and not where.endswith((".if", ".anyOf[1]")):
                for name, facts in inner.items():
                    known = {"const", "columns", "method", "$ref"} & {*facts, name}
                    assert "description" in facts or known, f"{where}.{name}"
            check(inner, f"{where}.{key}")

    check(schema(), "")


def test_descriptions_stand_in_one_line_and_it_is_the_same_each_time() -> None:
    assert schema() == schema()
    assert "Chosen" not in str(schema())
    assert "\n" not in schema()["$defs"]["Source"]["properties"]["path"]["description"]
