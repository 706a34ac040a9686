"""Saves beside the loop: what is saved is the step's own, errors are heard, and all are awaited."""

from __future__ import annotations

import errno
import threading

import pytest
import torch
from forked import in_processes
from test_train_processes import job_for
from tiny_training import make_job, metrics, same_weights, some_rows, tiny_llama, tiny_lora, weights

from ftune.errors import RunError
from ftune.run.progress import Silent
from ftune.train import background, checkpoint
from ftune.train.loop import train
from ftune.train.objectives import sft

OPTIONS = {"save_steps": 1, "logging_steps": 1, "save_total_limit": 20}


class Warns(Silent):
    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, line: str) -> None:
        self.warned.append(line)


class Counts:
    """The objective sft, which notes in ``batches`` how many it was given."""

    def __init__(self) -> None:
        self.batches = 0
        self.came = threading.Condition()

    def loss(self, model, batch, config):
        with self.came:
            self.batches += 1
            self.came.notify_all()
        return sft.loss(model, batch, config)


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / "checkpoints").rglob("*.safetensors"))
    }


@pytest.fixture
def no_room(monkeypatch):
    """Memory for no copy, so that each save is waited for."""
    monkeypatch.setattr(background, "free_memory", lambda: 0)


def test_the_loop_goes_on_while_a_save_is_under_way(tmp_path, monkeypatch):
    """Each save ends only when the next step has begun, and still holds its own step."""
    counts, write = Counts(), checkpoint._write

    def slow(folder, state, parts):
        if state["state"]["step"] < 6:  # after the last there is no other
            seen = 2 * state["state"]["step"]
            with counts.came:
                assert counts.came.wait_for(lambda: counts.batches > seen, timeout=30)
        write(folder, state, parts)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write", slow)
        train(make_job(tmp_path / "beside", tiny_llama(), job={"objective": counts}, **OPTIONS))
    with monkeypatch.context() as patch:
        patch.setattr(background, "free_memory", lambda: 0)
        train(make_job(tmp_path / "waited", tiny_llama(), **OPTIONS))
    saved = files(tmp_path / "beside")
    assert len(saved) == 3 * 6
    assert saved == files(tmp_path / "waited")
    assert metrics(tmp_path / "beside") == metrics(tmp_path / "waited")


def test_without_room_for_a_copy_it_is_waited_for(tmp_path, monkeypatch, no_room):
    at, write = [], checkpoint._write

    def noting(folder, state, parts):
        at.append((state["state"]["step"], counts.batches))
        write(folder, state, parts)
        at.append((state["state"]["step"], counts.batches))

    counts = Counts()
    monkeypatch.setattr(checkpoint, "_write", noting)
    train(make_job(tmp_path, job={"objective": counts}, **OPTIONS))
    assert at == [(n, 2 * n) for n in range(1, 7) for _ in range(2)]


def test_a_full_disk_is_heard_in_the_loop(tmp_path, monkeypatch):
    def full(folder, state, parts):
        raise OSError(errno.ENOSPC, "No space left on device")

    job = make_job(tmp_path, **OPTIONS)
    train(make_job(tmp_path / "whole", max_steps=2, **OPTIONS))
    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(RunError, match=r"step-00000\d: .*No space left .* it needs .* bytes"):
        train(job)
    assert not list((tmp_path / "checkpoints").glob("*"))
    assert threading.active_count() == 1 or not _saving()


def test_an_error_of_the_loop_waits_for_the_save(tmp_path, monkeypatch):
    """The save under way ends; if it fails too, both are told, the loop's error as the error."""

    class Breaks(Counts):
        def loss(self, model, batch, config):
            result = super().loss(model, batch, config)
            if self.batches == 5:
                raise RunError("the loop's own")
            return result

    def full(folder, state, parts):
        with breaks.came:
            breaks.came.wait_for(lambda: breaks.batches >= 5, timeout=30)
        raise OSError(errno.EIO, "Input/output error")

    warns, breaks = Warns(), Breaks()
    job = make_job(tmp_path, job={"objective": breaks, "progress": warns}, save_steps=2)
    monkeypatch.setattr(checkpoint, "_write", full)
    with pytest.raises(RunError, match="the loop's own"):
        train(job)
    assert "Input/output error" in warns.warned[-1]
    assert not _saving()


def test_the_best_weights_are_whole_before_they_are_loaded(tmp_path, monkeypatch):
    """The best checkpoint is the one whose save is still under way when the training ends."""
    ended, write = threading.Event(), checkpoint._write

    def slow(folder, state, parts):
        ended.wait(0.2)
        write(folder, state, parts)

    options = {"eval_steps": 1, "load_best_model_at_end": True, "save_total_limit": 1}
    rows = {"eval_rows": some_rows(4, 1), "learning_rate": 1e-3}
    monkeypatch.setattr(checkpoint, "_write", slow)
    job = make_job(tmp_path, tiny_lora(dropout=0.0), **rows, **options)
    outcome = train(job)
    found = checkpoint.newest(tmp_path / "checkpoints", Silent())
    assert found is not None and checkpoint.problems(found.folder) == []
    best = checkpoint.path_of(tmp_path / "checkpoints", outcome.best_step)
    held = checkpoint.Checkpoint(outcome.best_step, best, {}).tensors("weights")
    assert same_weights(weights(job.model), held)


def test_copies_are_apart_and_their_memory_is_used_again():
    copies, live = background.Copies(), torch.arange(6.0).reshape(2, 3)
    given = {"weights": {"a": live, "b": torch.ones(2)}}
    first = copies.take(given, set())
    place = first["weights"]["a"].data_ptr()
    live.add_(1)
    assert torch.equal(first["weights"]["a"], live - 1)
    second = copies.take(given, {id(given["weights"]["b"])})
    assert second["weights"]["a"].data_ptr() == place
    assert second["weights"]["b"] is given["weights"]["b"]
    other = copies.take({"weights": {"a": torch.zeros(3, dtype=torch.bfloat16)}}, set())
    assert other["weights"]["a"].dtype == torch.bfloat16


def test_a_containers_limit_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(background, "CGROUP", tmp_path)
    everything = background.free_memory()
    (tmp_path / "memory.max").write_text("max\n")
    assert background.free_memory() > everything / 2
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("4000\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 300\n")
    assert background.free_memory() == 1300
    copies = background.Copies()
    assert copies.fits({"w": {"a": torch.zeros(150)}})
    assert not copies.fits({"w": {"a": torch.zeros(200)}})


def _saving() -> bool:
    return any(thread.name == "ftune-save" for thread in threading.enumerate())


def test_of_two_processes_neither_goes_on_after_a_save_that_failed(tmp_path, monkeypatch):
    """The first raises what its thread met; the other is not left training by itself."""

    def full(folder, state, parts):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", full)

    def work(rank: int) -> None:
        job = job_for(tmp_path, 2, save_steps=2, num_train_epochs=50.0)
        try:
            train(job)
        except RunError as error:
            assert rank == 0 and "No space left" in str(error)
            raise
        except RuntimeError:  # the first is gone
            assert rank == 1
            raise

    in_processes(2, work, ends=(256, 256))
    assert max(line["step"] for line in metrics(tmp_path)) <= 5
    assert not list((tmp_path / "checkpoints").glob("step-*"))
