"""The files of a run directory: which there are, that they are whole, and what is not in them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_runs import load, make_home, one_thread

from ftune.errors import Interrupted
from ftune.recipe.reading import load_recipe
from ftune.run.atomic import TEMPORARY, sha256
from ftune.run.directory import RunDirectory
from ftune.run.progress import Silent
from ftune.stages.whole import STAGES, Wish, train_recipe

CANARIES = {
    "HF_TOKEN": "canary-123",
    "WANDB_API_KEY": "canary-456-abcdefghij",
    "SOME_PASSWORD": "canary-789",
}
STAGE = {"begin.json", "done.json", "report.json", "report.md"}
CHECKPOINT = {
    "manifest.json", "optimizer.safetensors", "random.safetensors", "state.json",
    "weights.safetensors",
}  # fmt: skip
ADAPTER = {
    "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "ftune.json",
    "prompting.json",
    "tokenizer.json", "tokenizer_config.json",
}  # fmt: skip
ROOT = {
    "environment.json", "lock", "loss.png", "recipe.resolved.yaml", "recipe.yaml", "report.json",
    "report.html", "report.md", "run.json",
}  # fmt: skip
FORMAT = {"train.arrow", "eval.arrow", "preview.md", "prompting.json"}
SUFFIXES = {
    ".json", ".jsonl", ".yaml", ".md", ".html", ".png", ".arrow", ".safetensors", ".jinja", ".txt",
}  # fmt: skip


def below(folder: str, names: set[str]) -> set[str]:
    return {f"{folder}/{name}" for name in names}


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


FINISHED = (
    ROOT
    | below("format", STAGE | FORMAT)
    | below("load", STAGE)
    | below("train", STAGE | {"metrics.jsonl"})
    | below("train/adapter", ADAPTER)
    | below("train/checkpoints/step-000002", CHECKPOINT)
    | below("train/checkpoints/step-000004", CHECKPOINT)
    | below("evaluate", STAGE | {"predictions.jsonl"})
)


@dataclass(frozen=True)
class Done:
    """A finished run of a process with secrets in its environment."""

    run: RunDirectory
    said: str
    recipe: Path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    home = tmp_path_factory.mktemp("finished")
    recipe = make_home(home)
    options = ["-o", "train.save_steps=2", "-o", "train.optim=adamw_8bit"]
    options += ["-o", "evaluate.metrics=[exact_match, token_loss]"]
    ended = subprocess.run(
        [sys.executable, "-m", "ftune", "train", recipe.name, *options],
        cwd=home,
        env={**os.environ, **CANARIES, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return Done(RunDirectory(home / "runs" / "recipe" / "001"), ended.stdout + ended.stderr, recipe)


def test_exactly_these_files(done: Done) -> None:
    assert files(done.run.folder) == FINISHED


def test_nothing_is_written_beside_the_run(done: Done) -> None:
    home = done.recipe.parent
    beside = {p.name for p in home.iterdir()}
    data = {"train.jsonl", "eval.jsonl", "test.jsonl"}
    assert beside == {"model", "recipe.yaml", "runs", *data}
    assert {p.name for p in (home / "runs").iterdir()} == {"recipe"}
    assert {p.name for p in (home / "runs" / "recipe").iterdir()} == {"001"}


def test_every_digest_is_right(done: Done) -> None:
    for stage in STAGES:
        folder = done.run.stage(stage.name)
        listed = json.loads((folder / "done.json").read_text(encoding="utf-8"))["files"]
        there = {f for f in files(folder) if not f.startswith("checkpoints/")}
        # What the report makes of a stage comes after the stage.
        assert set(listed) == there - {"begin.json", "done.json", "report.md"}
        for name, facts in listed.items():
            assert facts == {
                "bytes": (folder / name).stat().st_size,
                "sha256": sha256(folder / name),
            }


def test_checkpoints_have_manifests(done: Done) -> None:
    for folder in (done.run.stage("train") / "checkpoints").iterdir():
        listed = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        for name in CHECKPOINT - {"manifest.json"}:
            assert sha256(folder / name) in json.dumps(listed)


def test_the_resolved_recipe_is_the_recipe(done: Done) -> None:
    again = load_recipe(done.run.resolved_file, home=done.recipe).recipe
    overrides = ("train.save_steps=2", "train.optim=adamw_8bit")
    metrics = "evaluate.metrics=[exact_match, token_loss]"
    assert again == load(done.recipe, *overrides, metrics).recipe
    assert (done.run.folder / "recipe.yaml").read_text() == done.recipe.read_text()


def test_the_report_tells_the_metrics(done: Done) -> None:
    told = json.loads((done.run.stage("evaluate") / "report.json").read_text(encoding="utf-8"))
    page = (done.run.folder / "report.md").read_text(encoding="utf-8").replace("\\", "")
    for metric in told["figures"]["metrics"]:
        assert metric["name"] in page
        assert metric["signature"] in page
    assert "loss.png" in page
    assert (done.run.folder / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_no_secret_and_no_environment(done: Done) -> None:
    for name, secret in CANARIES.items():
        assert secret not in done.said
        for path in done.run.folder.rglob("*"):
            if path.is_file():
                held = path.read_bytes()
                assert secret.encode() not in held, path
                assert name.encode() not in held, path
    record = json.loads((done.run.folder / "environment.json").read_text(encoding="utf-8"))
    assert set(record) == {"ftune", "python", "system", "processor", "cores", "memory_bytes",
                           "packages"}  # fmt: skip
    for value in (os.environ["PATH"], str(Path.home() / ".cache")):
        assert value not in json.dumps(record)


def no_pickles(folder: Path) -> None:
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        start = path.read_bytes()[:8]
        assert path.suffix in SUFFIXES or (path.name == "lock" and not start), path
        assert not re.match(rb"\x80[\x00-\x05]", start), path
        if path.suffix == ".safetensors":  # its header's length, then its header
            assert path.read_bytes()[8:9] == b"{", path
        assert not start.startswith((b"PK", b"\x1f\x8b", b"BZ", b"(", b"]q", b"}q")), path


def test_nothing_is_a_pickle(done: Done) -> None:
    no_pickles(done.run.folder)


class StopsAtStep(Silent):
    """Sends this process a SIGINT after a step of the training, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    @contextmanager
    def meter(self, title: str, total: int | None, unit: str) -> Iterator[StopsAtStep]:
        yield self

    def update(self, done: int, **figures: str) -> None:
        if done == self.step and "loss" in figures and "rate" in figures:
            os.kill(os.getpid(), signal.SIGINT)


INTERRUPTED = (
    (FINISHED - below("evaluate", STAGE | {"predictions.jsonl"}))
    - below("train", {"done.json", "report.json", "report.md"})
    - below("train/adapter", ADAPTER)
    - below("train/checkpoints/step-000004", CHECKPOINT)
)


def test_an_interrupted_run(tmp_path: Path) -> None:
    recipe = make_home(tmp_path)
    loaded = load(recipe, f"runs_dir={tmp_path / 'runs'}")
    with one_thread(), pytest.raises(Interrupted) as caught:
        train_recipe(loaded, Wish(), StopsAtStep(2))
    assert caught.value.exit_code == 130
    run = RunDirectory(tmp_path / "runs" / "recipe" / "001")
    assert run.state()["state"] == "interrupted"
    assert files(run.folder) == INTERRUPTED
    assert not list(run.folder.rglob(f"{TEMPORARY}*"))
    no_pickles(run.folder)
    with one_thread():
        again = train_recipe(loaded, Wish(), Silent())
    assert again.folder == run.folder
    assert again.state()["state"] == "done"
    assert files(run.folder) == FINISHED


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    """The same command again finds all done, and writes no stage anew."""
    loaded = load(make_home(tmp_path), f"runs_dir={tmp_path / 'runs'}", "train.max_steps=1")
    with one_thread():
        run = train_recipe(loaded, Wish(), Silent())
        before = {p: p.stat().st_mtime_ns for s in STAGES for p in run.stage(s.name).rglob("*.*")}
        again = train_recipe(loaded, Wish(), Silent())
    assert again == run
    changed = {p.name for p, when in before.items() if p.stat().st_mtime_ns != when and p.is_file()}
    assert changed <= {"report.md"}
