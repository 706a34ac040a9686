"""A sweep through the command line: done, stopped, killed, with a point that fails."""

from __future__ import annotations

import os
import shlex
import signal
import time
from pathlib import Path

import pytest
from commands import Done, Started, Warm, curve, read

pytestmark = pytest.mark.golden

SHORT = (
    "name=grid",
    "data.train[0].weight=1",
    "data.train[0].max_rows=96",
    "data.eval=[]",
    "data.test[0].max_rows=30",
    "train.max_steps=6",
    "train.eval_steps=null",
    "train.logging_steps=1",
    "train.save_steps=1",
    "evaluate.metrics=[token_loss]",
    "evaluate.group_references=false",
    "evaluate.base=false",
)
GRID = "sweep={tune.r: [1, 2], tune.target_modules: [[q_proj], [q_proj, v_proj]]}"
LABELS = [
    f"r={r},target_modules={modules}" for r in (1, 2) for modules in ("q_proj", "q_proj+v_proj")
]


@pytest.fixture(scope="module")
def line(recipe) -> list[str]:
    return ["sweep", *recipe("lora", *SHORT, GRID)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, warm: Warm, line) -> tuple[Path, Done]:
    """A sweep that nothing happened to."""
    folder = tmp_path_factory.mktemp("sweep")
    return folder, warm.run(folder, *line)


def run_of(folder: Path, label: str) -> Path:
    return folder / "runs" / f"grid,{label}" / "001"


def adapters(folder: Path) -> list[bytes]:
    file = "train/adapter/adapter_model.safetensors"
    return [(run_of(folder, label) / file).read_bytes() for label in LABELS]


def test_every_point_is_trained_and_compared(undisturbed) -> None:
    folder, done = undisturbed
    found = read(folder / "runs/grid/sweep.json")
    points = found["points"]
    assert [(p["label"], p["state"]) for p in points] == [(label, "done") for label in LABELS]
    trainable = [p["trainable"] for p in points]
    assert trainable[2:] == [2 * trainable[0], 2 * trainable[1]] and trainable[0] < trainable[1]
    assert len(set(adapters(folder))) == 4
    for point in points:
        run = folder / point["run"]
        [loss, *_] = read(run / "report.json")["metrics"]
        assert point["metrics"][0]["tuned"] == loss["tuned"]
        low, high = point["metrics"][0]["tuned_interval"]
        assert low < loss["tuned"] < high
    best = min(points, key=lambda p: p["metrics"][0]["tuned"])
    assert found["best"] == best["label"] and best["label"] in done.out
    for name in ("sweep.md", "sweep.png"):
        assert (folder / "runs/grid" / name).stat().st_size > 500
    assert all(word in done.out for word in ("95% interval", "q_proj, v_proj", "token_loss"))


def test_rows_are_formatted_once(undisturbed) -> None:
    folder, _ = undisturbed
    tokens = [run_of(folder, label) / "format/train.arrow" for label in LABELS]
    assert len({path.stat().st_ino for path in tokens}) == 1


def test_a_point_is_what_train_makes_and_goes_on_with(undisturbed, warm, tmp_path) -> None:
    folder, _ = undisturbed
    point = read(folder / "runs/grid/sweep.json")["points"][1]
    words = shlex.split(point["command"])[1:]
    before = run_of(folder, LABELS[1]).parent
    again = warm.run(folder, *words)
    assert "train: done before, reused" in again.out and len(list(before.iterdir())) == 1
    warm.run(tmp_path, *words)
    alone, swept = run_of(tmp_path, LABELS[1]), run_of(folder, LABELS[1])
    assert curve(alone) == curve(swept)
    assert read(alone / "run.json")["fingerprint"] == read(swept / "run.json")["fingerprint"]
    file = "train/adapter/adapter_model.safetensors"
    assert (alone / file).read_bytes() == (swept / file).read_bytes()


def wait_for(started: Started, file: Path, lines: int) -> None:
    end = time.monotonic() + 120
    while not file.exists() or len(file.read_bytes().splitlines()) < lines:
        assert time.monotonic() < end and not started.ended, started.err.read_text()
        time.sleep(0.01)


def test_stopped_and_killed_it_goes_on(undisturbed, warm, line, tmp_path) -> None:
    first, second, third = (run_of(tmp_path, label) for label in LABELS[:3])
    started = warm.start(tmp_path, *line, "--json")
    wait_for(started, second / "train/metrics.jsonl", 2)
    started.kill(signal.SIGINT)
    done = started.wait()
    assert done.code == 130, done.err
    assert "stopped: 1 of 4 points are done; the same command goes on" in done.err
    states = [p["state"] for p in done.json["points"]]
    assert states == ["done", "interrupted", "not reached", "not reached"]
    assert list((second / "train/checkpoints").glob("step-*"))
    before = (first / "train/adapter/adapter_model.safetensors").stat().st_mtime_ns

    started = warm.start(tmp_path, *line)
    wait_for(started, third / "train/metrics.jsonl", 3)
    child = read(third / "lock.json")["pid"]
    started.kill()
    started.wait()
    end = time.monotonic() + 30
    while alive(child):
        assert time.monotonic() < end, "the killed sweep left its point at work"
        time.sleep(0.01)

    done = warm.run(tmp_path, *line)
    assert done.out.count("train: done before, reused") == 2
    assert "going on from the checkpoint of step" in done.out
    assert (first / "train/adapter/adapter_model.safetensors").stat().st_mtime_ns == before
    assert adapters(tmp_path) == adapters(undisturbed[0])
    assert [curve(run_of(tmp_path, x)) for x in LABELS] == [
        curve(run_of(undisturbed[0], x)) for x in LABELS
    ]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split()[2] != "Z"
    except (OSError, ProcessLookupError):
        return False


def test_a_point_that_fails_lets_the_others_go_on(warm, recipe, tmp_path) -> None:
    grid = "sweep={data.max_length: [8, 255, 256]}"
    line = ["sweep", *recipe("lora", *SHORT, grid), "--json"]
    killed = tmp_path / "runs/grid,max_length=255/001"
    started = warm.start(tmp_path, *line)
    wait_for(started, killed / "train/metrics.jsonl", 2)
    os.kill(read(killed / "lock.json")["pid"], signal.SIGKILL)
    done = started.wait()
    assert done.code == 5, done.err
    assert "2 of 3 points failed: max_length=8; max_length=255; the same command" in done.err
    short, ended, long = done.json["points"]
    assert [p["state"] for p in (short, ended, long)] == ["failed", "failed", "done"]
    assert "data.max_length" in short["error"] and short["command"].startswith("ftune train ")
    assert "ended by signal 9, most likely for want of memory" in ended["error"]
    assert short["metrics"] == [] and long["metrics"]
    assert "max\\_length=8" in (tmp_path / "runs/grid/sweep.md").read_text(encoding="utf-8")
    again = warm.run(tmp_path, *line, code=5)
    assert [p["state"] for p in again.json["points"]] == ["failed", "done", "done"]


@pytest.mark.parametrize("verb", ["train", "rehearse", "eval"])
def test_verbs_of_one_run_point_to_the_sweep(verb, warm, line, tmp_path) -> None:
    done = warm.run(tmp_path, verb, *line[1:], code=2)
    assert "its sweep makes 4 runs; `ftune sweep" in done.err
    assert not (tmp_path / "runs").exists()


def test_without_a_sweep_it_says_what_to_do(warm, recipe, tmp_path) -> None:
    done = warm.run(tmp_path, "sweep", *recipe("lora"), code=2)
    assert "has no sweep; add one" in done.err
