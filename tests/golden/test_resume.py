"""A training that was killed, stopped, damaged or changed goes on as if nothing had been."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Started, command, curve, read

pytestmark = pytest.mark.golden

STEPS = 24
SHORT = (
    "name=short",
    "data.train[0].weight=1",
    "data.train[0].max_rows=150",
    "data.eval=0.1",
    "data.test[0].max_rows=20",
    f"train.max_steps={STEPS}",
    "train.logging_steps=1",
    "train.eval_steps=5",
    "train.save_steps=2",
    "tune.lora_dropout=0.1",
    "evaluate.metrics=[token_loss]",
    "evaluate.group_references=false",
)


@pytest.fixture(scope="module")
def line(recipe) -> list[str]:
    """The command of all trials."""
    return ["train", *recipe("lora", *SHORT)]


@pytest.fixture(scope="module")
def changed(recipe) -> Callable[..., list[str]]:
    """The same with further overrides."""
    return lambda *overrides: ["train", *recipe("lora", *SHORT, *overrides)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, warm, line) -> tuple[Path, float]:
    """A run that nothing happened to, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    start = time.monotonic()
    warm.run(folder, *line)
    return folder / "runs/short/001", time.monotonic() - start


@pytest.fixture
def copy(undisturbed, tmp_path) -> Path:
    """A working folder with a copy of that run in it."""
    shutil.copytree(undisturbed[0].parents[1], tmp_path / "runs")
    return tmp_path


def adapter(run: Path) -> bytes:
    return (run / "train/adapter/adapter_model.safetensors").read_bytes()


def same(run: Path, other: Path) -> None:
    """Weights bit for bit, every logged figure, every step once."""
    assert adapter(run) == adapter(other)
    assert curve(run) == curve(other)
    steps = [x["step"] for x in curve(run) if "loss" in x]
    assert steps == list(range(1, STEPS + 1))
    for stage in ("format", "train", "evaluate"):
        one, two = (read(r / stage / "report.json")["figures"] for r in (run, other))
        for name in ("ledger", "rows", "tokens", "trained_tokens", "loss", "metrics"):
            assert one.get(name) == two.get(name), name
    assert not [p for p in run.rglob("*") if p.name.startswith((".part-", ".old-"))]


def mtimes(run: Path) -> dict[str, int]:
    """When each file of the stages was written."""
    return {
        str(p.relative_to(run)): p.stat().st_mtime_ns
        for stage in ("format", "load", "train", "evaluate")
        for p in (run / stage).rglob("*")
        if p.is_file() and p.name != "report.md"
    }


def wait_for(started: Started, file: Path, lines: int) -> None:
    """Until the file has so many lines: steps, if it is metrics.jsonl."""
    end = time.monotonic() + 120
    while not file.exists() or len(file.read_bytes().splitlines()) < lines:
        on_its_way = time.monotonic() < end and not started.ended
        assert on_its_way, started.out.read_text() + started.err.read_text()
        time.sleep(0.01)


@pytest.mark.parametrize("trial", range(4))
def test_kill(trial, undisturbed, warm, line, tmp_path):
    reference, seconds = undisturbed
    moment = random.Random().uniform(trial, trial + 1) / 4 * seconds
    print(f"killed after {moment:.2f} of {seconds:.2f} s")
    started = warm.start(tmp_path, *line)
    time.sleep(moment)
    started.kill()
    started.wait()
    done = warm.run(tmp_path, *line)
    # Before the run had a name of its own nothing could be gone on with.
    runs = sorted((tmp_path / "runs/short").iterdir())
    assert len(runs) <= 2, done.out
    same(runs[-1], reference)


def test_killed_again_and_again(undisturbed, warm, line, tmp_path):
    run = tmp_path / "runs/short/001"
    for lines in (4, 13, 22):
        started = warm.start(tmp_path, *line)
        wait_for(started, run / "train/metrics.jsonl", lines)
        started.kill()
        assert started.wait().code == -signal.SIGKILL
    assert "going on from the checkpoint of step" in warm.run(tmp_path, *line).out
    same(run, undisturbed[0])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_stop(number, code, undisturbed, warm, line, tmp_path):
    run = tmp_path / "runs/short/001"
    started = warm.start(tmp_path, *line)
    wait_for(started, run / "train/metrics.jsonl", 7)
    started.kill(number)
    done = started.wait()
    assert done.code == code
    assert "which is saved in" in done.err
    assert "the same command goes on from there" in done.err
    assert read(run / "run.json")["state"] == "interrupted"
    step = int(done.err.partition("stopped after step ")[2].split()[0])
    assert 6 <= step < STEPS
    said = warm.run(tmp_path, *line).out
    assert f"going on from the checkpoint of step {step}" in said
    assert read(run / "train/report.json")["figures"]["resumed_from"] == step
    same(run, undisturbed[0])


@pytest.mark.parametrize("stage", ["format", "evaluate"])
def test_asked_to_stop_outside_training(stage, undisturbed, warm, changed, tmp_path):
    run = tmp_path / "runs/short/001"
    slow = ("data.test[0].max_rows=150", "evaluate.metrics=[bleu]")
    line = changed(*slow, "evaluate.generation.max_new_tokens=200")
    started = warm.start(tmp_path, *line)
    wait_for(started, run / stage / "begin.json", 1)
    started.kill(signal.SIGTERM)
    done = started.wait()
    assert done.code == 143
    assert "what is done is kept, and the same command goes on" in done.err
    assert read(run / "run.json")["state"] == "interrupted"
    said = warm.run(tmp_path, *line).out
    assert ("train: done before, reused" in said) == (stage == "evaluate")
    assert adapter(run) == adapter(undisturbed[0])
    assert curve(run) == curve(undisturbed[0])
    assert read(run / "run.json")["state"] == "done"


def test_again_reuses_everything(copy, undisturbed, warm, line):
    run = copy / "runs/short/001"
    before = mtimes(run)
    said = command(copy, *line).out
    for stage in ("format", "load", "train", "evaluate"):
        assert f"{stage}: done before, reused" in said
    assert mtimes(run) == before
    assert [p.name for p in (copy / "runs/short").iterdir()] == ["001"]
    same(run, undisturbed[0])


def test_what_makes_a_new_run_and_what_does_not(copy, undisturbed, warm, line, changed):
    runs = copy / "runs/short"
    before = mtimes(runs / "001")
    warm.run(copy, *changed("evaluate.metrics=[token_loss, perplexity]"))
    assert {p.name for p in runs.iterdir()} == {"001"}
    old = runs / "001/evaluate.old-1"
    assert len(read(old / "report.json")["figures"]["metrics"]) == 2
    names = [m["name"] for m in read(runs / "001/report.json")["metrics"]]
    assert names == ["token_loss", "bits_per_byte", "perplexity"]
    after = mtimes(runs / "001")
    assert {f: t for f, t in after.items() if not f.startswith("evaluate/")} == {
        f: t for f, t in before.items() if not f.startswith("evaluate/")
    }
    warm.run(copy, *changed("train.learning_rate=2e-3", "train.max_steps=4"))
    assert {p.name for p in runs.iterdir()} == {"001", "002"}
    warm.run(copy, *line, "--fresh")
    assert {p.name for p in runs.iterdir()} == {"001", "002", "003"}
    assert adapter(runs / "002") != adapter(runs / "001")
    same(runs / "003", undisturbed[0])
    assert {f: t for f, t in mtimes(runs / "001").items() if not f.startswith("evaluate/")} == {
        f: t for f, t in before.items() if not f.startswith("evaluate/")
    }


def test_a_second_process_is_refused(undisturbed, warm, line, tmp_path):
    run = tmp_path / "runs/short/001"
    first = warm.start(tmp_path, *line)
    wait_for(first, run / "train/metrics.jsonl", 3)
    first.kill(signal.SIGSTOP)
    before = (run / "train/metrics.jsonl").read_bytes()
    start = time.monotonic()
    second = warm.run(tmp_path, *line, code=5)
    assert time.monotonic() - start < 2
    assert f"process {first.pid} on " in second.err
    assert "--fresh" in second.err
    assert (run / "train/metrics.jsonl").read_bytes() == before
    assert read(run / "run.json")["state"] == "running"
    first.kill()  # its lock goes with it
    first.wait()
    warm.run(tmp_path, *line)
    same(run, undisturbed[0])


@pytest.mark.parametrize("name", ["train/adapter/adapter_model.safetensors", "format/train.arrow"])
def test_damage_is_noticed_and_made_again(name, copy, undisturbed, warm, line):
    run = copy / "runs/short/001"
    path = run / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = warm.run(copy, *line)
    stage = name.partition("/")[0]
    assert f"{path.relative_to(copy)} is damaged" in done.err
    assert f"{stage}: done before, reused" not in done.out
    assert (run / f"{stage}.old-1").is_dir()
    assert path.read_bytes() == (undisturbed[0] / name).read_bytes()
    same(run, undisturbed[0])


def test_a_damaged_checkpoint_is_left_aside(undisturbed, warm, line, tmp_path):
    run = tmp_path / "runs/short/001"
    started = warm.start(tmp_path, *line)
    wait_for(started, run / "train/metrics.jsonl", 12)
    started.kill()
    started.wait()
    newest = max((run / "train/checkpoints").glob("step-*"))
    path = newest / "optimizer.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 64
    path.write_bytes(data)
    done = warm.run(tmp_path, *line)
    assert f"the checkpoint of step {int(newest.name[5:])} is damaged and not used" in done.err
    assert json.loads((run / "train/report.json").read_text())["figures"]["resumed_from"] < int(
        newest.name[5:]
    )
    same(run, undisturbed[0])
