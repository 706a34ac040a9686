"""Two processes at one run, and run directories that were copied, moved or linked."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import pytest
from compare import differences

pytestmark = pytest.mark.golden

PAUSED = {"fault": "at_call", "target": "torch:Tensor.backward", "number": 8, "do": "pause"}
KILLED = {**PAUSED, "do": "kill", "number": 12}


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_second_is_refused_and_a_stale_lock_taken_over(parent, home, reference, tmp_path):
    run = tmp_path / "runs/lora/001"
    first = parent.begin(tmp_path, home / "lora.yaml", faults=[PAUSED])
    wait_for(run / "train/checkpoints/step-000002")
    since = time.monotonic()
    second = parent.train(tmp_path, home / "lora.yaml")
    took = time.monotonic() - since
    print(f"refused after {took:.2f} s")
    assert took < 2
    assert second.code == 5
    assert f"process {first.pid} on " in second.err
    # A link to the runs is another name for the same ones.
    (tmp_path / "other").mkdir()
    (tmp_path / "other/runs").symlink_to(tmp_path / "runs")
    assert parent.train(tmp_path / "other", home / "lora.yaml").code == 5
    assert len(list((tmp_path / "runs/lora").iterdir())) == 1
    first.kill()
    assert first.wait().code == -signal.SIGKILL
    assert (run / "lock.json").exists()
    assert parent.train(tmp_path, home / "lora.yaml").code == 0
    assert differences(run, reference("lora")) == []


def test_two_that_start_in_the_same_moment(parent, home, reference, tmp_path):
    two = [parent.begin(tmp_path, home / "lora.yaml") for _ in range(2)]
    codes = [one.wait().code for one in two]
    runs = sorted((tmp_path / "runs/lora").iterdir())
    # Either the second sees the first one's run and is refused, or each has one of its own.
    assert sorted(codes) == ([0, 5] if len(runs) == 1 else [0, 0])
    for run in runs:
        assert differences(run, reference("lora")) == []


def test_copied_while_it_runs(parent, home, reference, tmp_path):
    runs = tmp_path / "runs/lora"
    first = parent.begin(tmp_path, home / "lora.yaml", faults=[PAUSED])
    wait_for(runs / "001/train/checkpoints/step-000002")
    shutil.copytree(runs / "001", runs / "002")
    before = {p: p.stat().st_mtime_ns for p in (runs / "001").rglob("*")}
    done = parent.train(tmp_path, home / "lora.yaml")
    assert done.code == 0, done.err
    assert "runs/lora/002" in done.out
    assert differences(runs / "002", reference("lora")) == []
    assert {p: p.stat().st_mtime_ns for p in (runs / "001").rglob("*")} == before
    first.kill()
    first.wait()
    shutil.rmtree(runs / "002")
    assert parent.train(tmp_path, home / "lora.yaml").code == 0
    assert differences(runs / "001", reference("lora")) == []


@pytest.mark.parametrize("how", ["moved", "renumbered"])
def test_moved(how, parent, home, reference, tmp_path):
    """A run stands where it stands: nothing in it names its own place."""
    here, there = tmp_path / "here", tmp_path / "there"
    assert parent.train(here, home / "lora.yaml", faults=[KILLED]).code == -9
    if how == "moved":
        there.mkdir()
        (here / "runs").rename(there / "runs")
        run = there / "runs/lora/001"
    else:
        run = here / "runs/lora/017"
        (here / "runs/lora/001").rename(run)
    done = parent.train(run.parents[2], home / "lora.yaml")
    assert done.code == 0, done.err
    assert "going on from the checkpoint of step" in done.out
    assert differences(run, reference("lora")) == []
    assert [d.name for d in run.parent.iterdir()] == [run.name]


def test_a_checkpoint_of_another_training_is_refused(parent, home, tmp_path):
    assert parent.train(tmp_path, home / "lora.yaml", faults=[KILLED]).code == -9
    line = (home / "lora.yaml", "-o", "train.learning_rate=2e-2")
    assert parent.train(tmp_path, *line, faults=[KILLED]).code == -9
    one, two = (tmp_path / "runs/lora" / n / "train/checkpoints" for n in ("001", "002"))
    shutil.rmtree(two)
    shutil.copytree(one, two)
    done = parent.train(tmp_path, *line)
    assert done.code == 5
    assert "this training can't go on from it" in done.err
    assert "--fresh" in done.err
