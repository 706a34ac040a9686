"""The command line: quick where it only looks, helpful everywhere, and short about errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from calling import call
from small_runs import make_home

from ftune.cli.app import app

HEAVY = ["torch", "transformers", "peft", "datasets", "accelerate", "bitsandbytes", "numpy",
         "pyarrow", "matplotlib", "sacrebleu"]  # fmt: skip
LIGHT: list[tuple[str, ...]] = [
    ("--help",), ("--version",), ("train", "--help"), ("validate", "recipe.yaml"),
    ("validate", "recipe.yaml", "--resolved"), ("schema",), ("runs", "list"),
    ("runs", "list", "--json"), ("eval", "nonesuch"), ("merge", "nonesuch"),
    ("train", "nonesuch.yaml"), ("sweep", "nonesuch.yaml"), ("runs", "show", "nonesuch"),
]  # fmt: skip


def verbs(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """All verbs, those of groups with the group before them."""
    inner = getattr(command, "commands", {})
    found = [path] if path else []
    return found + [v for name, sub in inner.items() for v in verbs(sub, (*path, name))]


VERBS = verbs(typer.main.get_command(app))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    make_home(folder)
    return folder


@pytest.mark.parametrize("line", LIGHT, ids=" ".join)
def test_nothing_heavy_is_imported(line: tuple[str, ...], home: Path) -> None:
    code = (
        f"import sys; sys.argv = ['ftune', *{list(line)!r}]\n"
        "from ftune.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as e: print('ended with', e.code, file=sys.stderr)\n"
        f"print('heavy:', [m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=home, text=True, capture_output=True, check=False
    )
    assert "heavy: []" in ended.stderr, ended.stderr
    wrong = any("nonesuch" in word for word in line)
    assert ("ended with 0" in ended.stderr) != wrong


def test_the_verbs() -> None:
    names = {verb[0] for verb in VERBS}
    known = {"train", "eval", "merge", "generate", "validate", "init", "schema", "runs", "doctor"}
    assert known <= names
    assert {("runs", "list"), ("runs", "show"), ("runs", "compare")} <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_and_option_has_help(verb: tuple[str, ...], home: Path) -> None:
    ended = call(*verb, "--help", within=home)
    assert ended.code == 0
    assert "Usage" in ended.out
    command = typer.main.get_command(app)
    for name in verb:
        command = command.commands[name]  # type: ignore[attr-defined]
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", "-"), f"{verb}: {parameter.name}"


def test_version(home: Path) -> None:
    from ftune import __version__

    assert call("--version", within=home).out == f"ftune {__version__}\n"


@pytest.mark.parametrize("line", [("train", "nonesuch.yaml"), ("eval", "nonesuch")])
def test_a_traceback_only_where_it_is_asked_for(line: tuple[str, ...], home: Path) -> None:
    def said(*arguments: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "ftune", *arguments],
            cwd=home, text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 2  # with a traceback, too
        return ended.stderr

    assert "Traceback" not in said(*line)
    assert "nonesuch" in said(*line)
    assert "Traceback" in said("--debug", *line)
    assert "RecipeError" in said(*line, "--debug")


def test_json_answers_are_json(home: Path) -> None:
    assert json.loads(call("validate", "recipe.yaml", "--json", within=home).out)["ok"] is True
    wrong = call("validate", "recipe.yaml", "--json", "-o", "tune.r=0", within=home)
    assert wrong.code == 2
    assert json.loads(wrong.out)["problems"]
    assert json.loads(call("runs", "list", "--json", within=home).out) == []
    assert json.loads(call("schema", within=home).out)["type"] == "object"


def test_the_verbs_that_go_on_from_a_run(home: Path) -> None:
    """train, runs, eval, generate, merge: one after the other, by the names that people use."""
    metrics = ("-o", "evaluate.metrics=[bleu, token_loss]")
    trained = call("train", "recipe.yaml", "-o", "train.max_steps=1", "--json", *metrics,
                   within=home)  # fmt: skip
    assert trained.code == 0, trained.said
    assert json.loads(trained.out)
    listed = json.loads(call("runs", "list", "--json", within=home).out)
    assert [(run["name"], run["id"], run["state"]) for run in listed] == [("recipe", "001", "done")]
    for target in ("recipe", "recipe/001", "runs/recipe/001"):
        assert "token_loss" in call("runs", "show", target, within=home).out
    scored = call("eval", "recipe", "--on", "eval", "--json", within=home)
    assert json.loads(scored.out)["on"] == "eval"
    answered = call("generate", "recipe", "-p", "Say it.", "--json", within=home)
    assert set(json.loads(answered.out)) >= {"prompt", "answer", "finish"}
    merged = call("merge", "recipe", within=home)
    assert merged.code == 0, merged.said
    assert (home / "runs" / "recipe" / "001" / "merged" / "model.safetensors").is_file()
    again = call("merge", "recipe", within=home)
    assert again.code != 0 and "Traceback" not in again.said
