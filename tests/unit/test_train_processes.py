"""Two processes train as one does: same loss, same gradient norm, same weights; and resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from forked import Stops, in_processes, one_thread, planned  # noqa: F401
from safetensors.torch import load_file, save_file
from tiny_training import make_job, metrics, settings, some_rows, tiny_lora, weights

from ftune.data.redealing import deal
from ftune.data.steps import Micro, Step
from ftune.errors import Interrupted, RunError
from ftune.fast import recompute, trials
from ftune.train.loop import train

OPTIONS = {"optim": "sgd", "max_grad_norm": None, "logging_steps": 1, "num_train_epochs": 2.0}


def job_for(
    folder: Path, processes: int, stop_at: int | None = None, model=None, begun=None, **options
):
    rows = some_rows()
    train_section = settings(**{**OPTIONS, **options})
    job = make_job(
        folder,
        tiny_lora(dropout=0.0).double() if model is None else model,
        rows,
        eval_rows=some_rows(9, seed=4),
        job=planned(rows, train_section, processes, begun),
        **{**OPTIONS, **options},
    )
    if stop_at is not None:
        object.__setattr__(job, "progress", Stops(job, stop_at))
    return job


@pytest.mark.parametrize("most", [None, 20])
def test_two_train_as_one(tmp_path, monkeypatch, most):
    """Also where each takes its micro-batches in parts of so many tokens."""
    one = tmp_path / "one"
    model = tiny_lora(dropout=0.0).double()
    train(job_for(one, 1, model=model, per_device_train_batch_size=4))
    expected = weights(model)

    if most is not None:
        monkeypatch.setattr(trials, "bytes_kept", lambda _: recompute.KEPT_BYTES / (most + 0.5))

    def work(rank: int) -> None:
        job = job_for(tmp_path / "two", 2, per_device_train_batch_size=2)
        train(job)
        save_file(weights(job.model), tmp_path / f"{rank}.safetensors")

    in_processes(2, work)
    for rank in range(2):
        for name, value in load_file(tmp_path / f"{rank}.safetensors").items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-9)
    for ours, theirs in zip(metrics(one), metrics(tmp_path / "two"), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-9)


def test_two_are_stopped_and_go_on(tmp_path):
    def make(folder, stop_at=None):
        return job_for(folder, 2, stop_at, tiny_lora(dropout=0.3))

    def straight(rank: int) -> None:
        job = make(tmp_path / "straight")
        train(job)
        save_file(weights(job.model), tmp_path / f"straight{rank}.safetensors")

    def stopped(rank: int) -> None:
        # The signal reaches one of them only.
        with pytest.raises(Interrupted):
            train(make(tmp_path / "stopped", stop_at=3 if rank == 1 else None))

    def resumed(rank: int) -> None:
        job = make(tmp_path / "stopped")
        assert train(job).resumed_from == 3
        save_file(weights(job.model), tmp_path / f"resumed{rank}.safetensors")

    for work in (straight, stopped, resumed):
        in_processes(2, work)
    for rank in range(2):
        ours, theirs = (
            load_file(tmp_path / f"{n}{rank}.safetensors") for n in ("straight", "resumed")
        )
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert metrics(tmp_path / "straight") == metrics(tmp_path / "stopped")
    with pytest.raises(RunError, match="processes was 2 and is 1"):
        train(job_for(tmp_path / "stopped", 1))


def test_another_number_of_processes_goes_on(tmp_path):
    """2, then 1, then 3: as 2 to the end."""

    def straight(rank: int) -> None:
        job = job_for(tmp_path / "straight", 2)
        train(job)
        if rank == 0:
            save_file(weights(job.model), tmp_path / "straight.safetensors")

    def first(rank: int) -> None:
        with pytest.raises(Interrupted):
            train(job_for(tmp_path / "changed", 2, stop_at=3))

    def alone(rank: int) -> None:
        with pytest.raises(Interrupted):
            train(job_for(tmp_path / "changed", 1, stop_at=6, begun=2))

    def three(rank: int) -> None:
        job = job_for(tmp_path / "changed", 3, begun=2)
        assert train(job).resumed_from == 6
        save_file(weights(job.model), tmp_path / f"changed{rank}.safetensors")

    in_processes(2, straight)
    for count, work in ((2, first), (1, alone), (3, three)):
        in_processes(count, work)
    expected = load_file(tmp_path / "straight.safetensors")
    for rank in range(3):
        for name, value in load_file(tmp_path / f"changed{rank}.safetensors").items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-9)
    for ours, theirs in zip(
        metrics(tmp_path / "straight"), metrics(tmp_path / "changed"), strict=True
    ):
        assert ours == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("begun", [1, 2, 3, 4])
@pytest.mark.parametrize("now", [1, 2, 3, 4])
def test_dealt_anew_each_line_stands_once(begun, now):
    for lines in (1, 2, 5, 12):
        each = [tuple((i,) for i in range(lines))[p::begun] for p in range(begun)]
        micros = tuple(
            (Micro(own) if own else Micro(((0,),), idle=True),) for own in each
        )  # fmt: skip
        found = deal(Step(micros, lines, lines, lines), now)
        assert len(found.micros) == now
        assert len({len(own) for own in found.micros}) == 1
        seen = [line for own in found.micros for m in own if not m.idle for line in m.lines]
        assert sorted(seen) == [(i,) for i in range(lines)]
        largest = max(len(m.lines) for own in micros for m in own)
        assert max(len(m.lines) for own in found.micros for m in own) <= largest
