"""A training that is stopped, killed or damaged goes on bit for bit as if nothing had been."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from tiny_training import (
    make_job,
    metrics,
    same_weights,
    some_rows,
    tiny_llama,
    tiny_lora,
    weights,
)

from ftune.errors import Interrupted, RunError
from ftune.run.progress import Silent
from ftune.train import checkpoint
from ftune.train.loop import train

WAYS = {
    "bucketed": {"save_steps": 3},
    "packed": {"packed": True, "gradient_accumulation_steps": 1, "save_steps": 4},
    "by tokens": {"tokens_per_batch": 40, "group_by_length": False},
    "8-bit": {"optim": "adamw_8bit"},
    "adafactor": {"optim": "adafactor", "lr_scheduler_type": "cosine", "warmup_steps": 3},
}


class StopAt(Silent):
    """Sets the job's stop flag when the meter reaches a step."""

    def __init__(self, step: int | None) -> None:
        self.step = step
        self.job = None
        self.warnings: list[str] = []

    def warn(self, line: str) -> None:
        self.warnings.append(line)

    def meter(self, title, total, unit):
        return _StopMeter(self, title)


class _StopMeter:
    def __init__(self, progress, title) -> None:
        self.progress, self.title = progress, title

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        pass

    def update(self, done: int, **figures: str) -> None:
        wanted = self.progress.step
        at = done if self.title == "train" else f"evaluate {done}"
        if at == wanted:
            self.progress.job.stop.code = 143


def run(folder, stop_at=None, model=None, **options):
    """Trains until done or stopped; the model and the outcome, None if it was stopped."""
    progress = StopAt(stop_at)
    model = tiny_lora() if model is None else model
    job = make_job(folder, model, job={"progress": progress}, **options)
    progress.job = job
    try:
        return model, train(job), progress
    except Interrupted as stopped:
        assert stopped.exit_code == 143
        return model, None, progress


def model_for(way):
    # bitsandbytes keeps only tensors from 4,096 elements on in 8 bits.
    return tiny_llama(intermediate_size=300) if way == "8-bit" else tiny_lora()


@pytest.mark.parametrize("way", WAYS)
def test_stopped_at_each_step_it_ends_the_same(tmp_path, way):
    options = {"num_train_epochs": 1.5, "eval_rows": some_rows(7, seed=1), **WAYS[way]}
    straight, outcome, _ = run(tmp_path / "straight", model=model_for(way), **options)
    assert outcome.steps >= 8
    assert outcome.epochs == pytest.approx(1.5, abs=0.2)
    steps = range(1, outcome.steps + 1) if way in ("bucketed", "packed") else (2, 7)
    for step in steps:
        folder = tmp_path / str(step)
        assert run(folder, stop_at=step, model=model_for(way), **options)[1] is None
        model, resumed, _ = run(folder, model=model_for(way), **options)
        assert resumed.resumed_from == step
        assert same_weights(weights(model), weights(straight))
        assert metrics(folder) == metrics(tmp_path / "straight")
        for figure in ("loss", "final_loss", "eval_loss", "best_step", "rows", "tokens"):
            assert getattr(resumed, figure) == getattr(outcome, figure), figure


def test_stopped_again_and_again_and_inside_an_evaluation(tmp_path):
    options = {"max_steps": 8, "eval_steps": 2, "eval_rows": some_rows(9, seed=1)}
    straight, _, _ = run(tmp_path / "straight", **options)
    for stop_at in ("evaluate 1", "evaluate 2", 3, 6, 8):
        assert run(tmp_path / "stopped", stop_at=stop_at, **options)[1] is None
    model, _, _ = run(tmp_path / "stopped", **options)
    assert same_weights(weights(model), weights(straight))
    assert metrics(tmp_path / "stopped") == metrics(tmp_path / "straight")


def in_child(work) -> int:
    """Runs ``work`` in a forked child; the number of the signal that ended it, else 0."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


MOMENTS = [
    ("a checkpoint takes its name", Path, "rename", 4),
    ("an old one loses its name", Path, "rename", 5),
    ("files are synced", os, "fsync", 12),
    ("the manifest is synced", os, "fsync", 14),
    ("an old one is removed", shutil, "rmtree", 4),
]


@pytest.mark.parametrize("where, name, call", [m[1:] for m in MOMENTS], ids=[m[0] for m in MOMENTS])
def test_killed_in_the_middle_of_a_save(tmp_path, monkeypatch, where, name, call):
    options = {"max_steps": 6, "save_steps": 1, "save_total_limit": 1}
    straight, _, _ = run(tmp_path / "straight", **options)
    original, calls = getattr(where, name), []

    def kill(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(where, name, kill)
        assert in_child(lambda: run(tmp_path / "killed", **options)) == signal.SIGKILL
    model, outcome, progress = run(tmp_path / "killed", **options)
    assert outcome.resumed_from
    assert not progress.warnings
    assert same_weights(weights(model), weights(straight))
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "straight")
    assert checkpoint.steps(tmp_path / "killed" / "checkpoints") == [6]
    assert len(list((tmp_path / "killed" / "checkpoints").iterdir())) == 1


def stopped_at_4(folder):
    run(folder, stop_at=4, max_steps=6, save_steps=1, save_total_limit=3)
    return folder / "checkpoints"


def test_a_damaged_checkpoint_is_told_and_an_older_one_taken(tmp_path):
    straight, _, _ = run(tmp_path / "straight", max_steps=6)
    for number, name in enumerate(["weights", "optimizer", "random"]):
        folder = tmp_path / name
        file = stopped_at_4(folder) / "step-000004" / f"{name}.safetensors"
        content = bytearray(file.read_bytes())
        content[-1 - number] ^= 4
        file.write_bytes(content)
        model, outcome, progress = run(folder, max_steps=6)
        assert outcome.resumed_from == 3
        assert "step 4 is damaged" in progress.warnings[0]
        assert f"{name}.safetensors" in progress.warnings[0]
        assert same_weights(weights(model), weights(straight))
        assert (folder / "checkpoints" / "damaged-step-000004").is_dir()


@pytest.mark.parametrize("name", ["manifest.json", "state.json", "weights.safetensors"])
@pytest.mark.parametrize("how", ["empty", "gone"])
def test_a_missing_or_empty_file_is_damage(tmp_path, name, how):
    root = stopped_at_4(tmp_path)
    file = root / "step-000004" / name
    file.unlink() if how == "gone" else file.write_bytes(b"")
    _, outcome, progress = run(tmp_path, max_steps=6)
    assert outcome.resumed_from == 3
    assert name in progress.warnings[0]


def test_with_no_whole_checkpoint_it_starts_anew_and_says_so(tmp_path):
    root = stopped_at_4(tmp_path)
    for folder in root.iterdir():
        (folder / "weights.safetensors").write_bytes(b"x")
    straight, _, _ = run(tmp_path / "straight", max_steps=6)
    model, outcome, progress = run(tmp_path, max_steps=6)
    assert outcome.resumed_from is None
    assert "no whole checkpoint is left" in progress.warnings[-1]
    assert same_weights(weights(model), weights(straight))
    assert metrics(tmp_path) == metrics(tmp_path / "straight")


def test_another_training_is_refused(tmp_path):
    stopped_at_4(tmp_path)
    with pytest.raises(RunError, match="steps in all was 6 and is 7"):
        run(tmp_path, max_steps=7)
    with pytest.raises(RunError, match="trainable parameters was"):
        train(make_job(tmp_path, tiny_llama(), max_steps=6))
    with pytest.raises(RunError, match="data was None and is b"):
        train(make_job(tmp_path, max_steps=6, job={"identity": {"data": "b"}}))


def test_a_replacement_cut_short_is_undone(tmp_path):
    root = stopped_at_4(tmp_path)
    (root / "step-000004").rename(root / ".old-step-000004")
    (root / ".part-1-step-000004").mkdir()
    assert run(tmp_path, max_steps=6)[1].resumed_from == 4
    assert not [p for p in root.iterdir() if p.name.startswith(".")]


def test_no_pickle_in_a_checkpoint(tmp_path):
    root = stopped_at_4(tmp_path)
    files = sorted(p.name for p in (root / "step-000004").iterdir())
    assert files == [
        "manifest.json",
        "optimizer.safetensors",
        "random.safetensors",
        "state.json",
        "weights.safetensors",
    ]
    assert checkpoint.steps(root) == [4, 3, 2]
