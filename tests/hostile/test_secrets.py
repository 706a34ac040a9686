"""Canaries in the environment, in a recipe and in URLs are in no file of a run and in no output."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "contract"))

from calling import call
from small_runs import make_home

from ftune.run.secrets import REDACTED, redacted

pytestmark = pytest.mark.golden

HUB = "hf_" + "Canary" * 5
SERVICE = "canary-of-a-service-42"
PASSWORD = "canary-pass-word"
QUERY = "canary-in-a-query"
CANARIES = (HUB, SERVICE, PASSWORD, QUERY)
URL = f"https://me:{PASSWORD}@example.invalid/rows.jsonl?token={QUERY}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    recipe = make_home(folder)
    text = recipe.read_text().replace("max_new_tokens: 4", f'stop: ["{HUB}", "{SERVICE} {URL}"]')
    recipe.write_text(f"# {HUB}, {URL}\n{text}")
    return folder


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", HUB)
    monkeypatch.setenv("SOME_SERVICE_API_KEY", SERVICE)


def leaks(*folders: Path) -> list[str]:
    return [
        f"{canary} in {path}"
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for canary in CANARIES
        if canary.encode() in path.read_bytes() or canary in path.name
    ]


def said(*arguments: object, within: Path) -> str:
    found = call(*arguments, within=within).said
    assert not [c for c in CANARIES if c in found], found
    return found


def test_a_whole_run(home):
    over = ("-o", "evaluate.metrics=[exact_match]", "-o", "train.logging_steps=2")
    words = said("train", "recipe.yaml", *over, within=home)
    assert (home / "runs/recipe/001/evaluate/done.json").exists(), words
    said("runs", "show", "recipe/001", within=home)
    said("runs", "show", "recipe/001", "--json", within=home)
    said("validate", "recipe.yaml", "--json", within=home)
    assert leaks(home / "runs") == []
    # The records are there all the same.
    resolved = (home / "runs/recipe/001/recipe.resolved.yaml").read_text()
    assert f"{REDACTED} https://{REDACTED}@example.invalid" in resolved
    assert f"token={REDACTED}" in resolved


def test_content_is_content(home, tmp_path):
    """A system message is what is trained: as it was written, or answers would not be the same."""
    over = ("-o", f"data.system_prompt=Ask {SERVICE}", "-o", f"runs_dir={tmp_path}")
    said("train", "recipe.yaml", *over, within=home)
    run = tmp_path / "recipe/001"
    assert (run / "evaluate/done.json").exists()
    kept = {Path(line.partition(" in ")[2]).name for line in leaks(run)}
    assert kept <= {"prompting.json", "predictions.jsonl"}


@pytest.mark.parametrize(
    "override",
    [f"data.train.0.path={URL}", f"model.name_or_path={URL}", f"train.hf_token={HUB}",
     f"train.seed={SERVICE}", f"name=../{HUB}", f"model.name_or_path=/nowhere/{SERVICE}"],
)  # fmt: skip
@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_messages_and_tracebacks(override, debug, home):
    try:
        assert said(*debug, "train", "recipe.yaml", "-o", override, within=home)
    except Exception:  # --debug lets it go on to the interpreter, which prints to the same stream
        assert debug
    assert leaks(home / "runs") == []


def test_a_traceback_of_the_interpreter(home, tmp_path):
    import os
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "ftune", "--debug", "train", home / "recipe.yaml",
         "-o", f"data.train.0.path={URL}"],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ},
    )  # fmt: skip
    assert done.returncode != 0 and "Traceback" in done.stderr
    assert not [c for c in CANARIES if c in done.stdout + done.stderr]


@pytest.mark.parametrize(
    "text",
    ["https://example.com/a?keyboard=1", "me@example.com", "hf_hub", "sk-learn", "a:b@c",
     "tokens=5 token count", "path/to/monkey=3"],
)  # fmt: skip
def test_usual_words_stay(text):
    assert redacted(text, ()) == text


def test_a_short_or_empty_value_is_no_secret(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "abc")
    monkeypatch.setenv("B_TOKEN", "")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false-false")
    monkeypatch.setenv("HF_TOKEN_PATH", "/home/me/token")
    assert redacted("abc false-false /home/me/token") == "abc false-false /home/me/token"
