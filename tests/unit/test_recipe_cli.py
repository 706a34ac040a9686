"""The verbs validate and schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from recipe_texts import GOOD
from typer.testing import CliRunner

from ftune.cli.schema import schema
from ftune.cli.validate import validate
from ftune.errors import RecipeError
from ftune.recipe.reference import schema_text

app = typer.Typer()
app.command("validate")(validate)
app.command("schema")(schema)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD)
    return file


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(done.exception, RecipeError):
        raise done.exception
    return done.exit_code, done.output


def test_ok(good: Path) -> None:
    code, output = run("validate", good, "-o", "train.max_steps=5", "-o", "data.eval=0.1")
    assert code == 0
    assert output == (
        f"{good}: ok\n  lora of ftune:tiny; train ftune:quickstart/train.jsonl; eval 0.1 of the "
        "training rows; test none; 5 steps of sft at 0.0001; metrics none\n"
    )


def test_problems_are_raised_all_at_once(good: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        run("validate", good, "-o", "lr=1", "-o", "tune.rr=1")
    assert len(caught.value.problems) == 2
    assert caught.value.exit_code == 2


def test_json(good: Path) -> None:
    assert run("validate", good, "--json") == (0, '{"ok": true, "problems": []}\n')
    code, output = run("validate", good, "--json", "-o", "lr=1")
    assert code == 2
    answer = json.loads(output)
    assert not answer["ok"]
    assert answer["problems"][0].startswith("-o lr: ")
    answer = json.loads(run("validate", good, "--json", "--resolved")[1])
    assert answer["recipe"]["tune"] == {**answer["recipe"]["tune"], "method": "lora", "r": 16}


def test_resolved_is_a_recipe(good: Path, tmp_path: Path) -> None:
    _, output = run("validate", good, "--resolved")
    again = tmp_path / "again.yaml"
    again.write_text(output)
    assert run("validate", again, "--resolved") == (0, output)


def test_schema(tmp_path: Path) -> None:
    assert run("schema") == (0, schema_text())
    file = tmp_path / "new" / "schema.json"
    assert run("schema", "--output", file)[0] == 0
    assert file.read_text() == schema_text()
