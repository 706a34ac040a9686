"""Two processes train as one does: same loss, same gradient norm, same weights; and resume."""

from __future__ import annotations

import os
import socket
import traceback
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_training import make_job, make_plan, metrics, settings, some_rows, tiny_lora, weights

from ftune.data.redealing import Redealt, deal
from ftune.data.steps import Micro, Step
from ftune.errors import Interrupted, RunError
from ftune.run.progress import Silent
from ftune.train.loop import train

OPTIONS = {"optim": "sgd", "max_grad_norm": None, "logging_steps": 1, "num_train_epochs": 2.0}


def in_processes(count: int, work) -> None:
    """Runs ``work(rank)`` in forked children that form a gloo group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(count):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.environ.update(
                    RANK=str(rank),
                    LOCAL_RANK=str(rank),
                    WORLD_SIZE=str(count),
                    LOCAL_WORLD_SIZE=str(count),
                    MASTER_ADDR="127.0.0.1",
                    MASTER_PORT=str(port),
                    ACCELERATE_USE_CPU="true",
                )
                torch.set_num_threads(1)
                work(rank)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * count


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
        object.__setattr__(job, "progress", _Stops(job, stop_at))
    return job


def planned(rows, train_section, processes: int, begun: int | None) -> dict:
    if begun is None:
        return {"plan": make_plan(rows, train_section, processes=processes)}
    plan = make_plan(rows, train_section, processes=begun)
    return {"plan": Redealt(plan, processes), "identity": {"processes": begun}}


class _Stops(Silent):
    def __init__(self, job, step) -> None:
        self.job, self.at = job, step

    def meter(self, title, total, unit):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        pass

    def update(self, done, **figures) -> None:
        if done == self.at:
            self.job.stop.code = 143


@pytest.fixture(autouse=True)
def one_thread():
    """A forked child can't use the threads of its parent."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_two_train_as_one(tmp_path):
    one = tmp_path / "one"
    model = tiny_lora(dropout=0.0).double()
    train(job_for(one, 1, model=model, per_device_train_batch_size=4))
    expected = weights(model)

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
