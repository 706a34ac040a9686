"""Two processes of one ``ftune train --processes``: stopped, killed, hung, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
STEPS = 24
TIMINGS = {"seconds", "tokens_per_second", "memory_bytes", "eval_seconds"}
SETS = (
    f"train.max_steps={STEPS}",
    "train.save_steps=3",
    "train.eval_steps=8",
    "train.logging_steps=1",
    "train.per_device_train_batch_size=2",
    "train.gradient_accumulation_steps=1",
    "tune.lora_dropout=0.1",
    "evaluate.metrics=[]",
    "data.test=[]",
)

# The metrics ask for test rows, also where others are scored.
ROWS = "[{path: ftune:quickstart/test.jsonl, format: alpaca, max_rows: 1}]"


def start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    sets = [part for each in (*SETS, *overrides) for part in ("-o", each)]
    recipe = str(ROOT / "recipes/ci-smoke.yaml")
    return subprocess.Popen(
        [sys.executable, "-m", "ftune", "train", recipe, "--processes", "2", *sets],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(run: subprocess.Popen[str], code: int) -> str:
    """What was said until the end, which must come with this code, and leave no process behind."""
    out, err = run.communicate(timeout=120)
    assert run.returncode == code, f"{run.returncode}\n{out}\n{err}"
    return out + err


def lines(folder: Path) -> list[dict]:
    [file] = folder.glob("runs/*/*/train/metrics.jsonl")
    read = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [{k: v for k, v in line.items() if k not in TIMINGS} for line in read]


def at_step(folder: Path, step: int, run: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of the training, by their number, once a step is done."""
    while run.poll() is None:
        for file in folder.glob("runs/*/*/train/metrics.jsonl"):
            if f'"step": {step},' in file.read_text(encoding="utf-8"):
                found = psutil.Process(run.pid).children()
                return sorted(found, key=lambda one: one.environ()["RANK"])
        time.sleep(0.02)
    pytest.fail(f"ended with {run.returncode} before step {step}\n{run.communicate()}")


def kept(folder: Path) -> bytes:
    [file] = folder.glob("runs/*/*/train/adapter/*.safetensors")
    return file.read_bytes()


def scored(folder: Path) -> float:
    """What ``ftune eval`` says of the model, in one process, on the rows of the training's loss."""
    [run] = folder.glob("runs/*/*")
    line = [sys.executable, "-m", "ftune", "eval", str(run), "--on", "eval", "--json"]
    done = subprocess.run(
        [*line, "-o", "evaluate.metrics=[token_loss]", "-o", f"data.test={ROWS}"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = {metric["name"]: metric for metric in json.loads(done.stdout)["metrics"]}
    return found["token_loss"]["tuned"]


def gone(processes: list[psutil.Process]) -> bool:
    return not any(one.is_running() for one in processes)


@pytest.fixture
def straight(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """A run that nothing happens to, beside the one that is tried."""
    folder = tmp_path / "straight"
    folder.mkdir()
    run = start(folder)

    def wait() -> Path:
        ended(run, 0)
        return folder

    yield wait
    run.kill()


def test_stopped_killed_hung_and_gone_on_with(tmp_path: Path, straight: Callable[[], Path]) -> None:
    folder = tmp_path / "tried"
    folder.mkdir()

    run = start(folder)
    at_step(folder, 4, run)
    run.send_signal(signal.SIGTERM)
    assert "is saved in" in ended(run, 143)
    stopped = len(lines(folder))
    assert 4 <= stopped < STEPS

    run = start(folder)
    processes = at_step(folder, stopped + 4, run)
    os.kill(processes[1].pid, signal.SIGKILL)
    said = ended(run, 5)
    assert f"process 1 of 2 (pid {processes[1].pid}" in said and "ended by SIGKILL" in said
    assert "going on from the checkpoint" in said and gone(processes)

    run = start(folder, "distributed.timeout_seconds=3")
    processes = at_step(folder, stopped + 8, run)
    os.kill(processes[1].pid, signal.SIGSTOP)
    said = ended(run, 5)
    assert f"process 1 of 2 (pid {processes[1].pid}" in said and "did not answer" in said
    assert gone(processes)

    assert "train: " in ended(start(folder), 0)
    assert len(list(folder.glob("runs/*/*"))) == 1
    assert kept(folder) == kept(straight())
    assert lines(folder) == lines(tmp_path / "straight")
    assert scored(folder) == pytest.approx(lines(folder)[-1]["eval_loss"], rel=1e-5)
