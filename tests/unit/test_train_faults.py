"""Steps that are no number, and memory that is short: left out or made smaller, and counted."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_train_processes import in_processes, job_for
from tiny_training import (
    make_job,
    make_plan,
    same_weights,
    settings,
    some_rows,
    tiny_lora,
    weights,
)

from ftune.errors import Interrupted, RunError
from ftune.run.progress import Silent
from ftune.train import stepping
from ftune.train.loop import train
from ftune.train.objectives import sft

EIGHT = {"per_device_train_batch_size": 8}
LACKS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"),
]


class Says(Silent):
    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, line: str) -> None:
        self.warned.append(line)


class Spoils:
    """The objective sft, with a loss that is NaN whenever one of ``rows`` is in the batch."""

    def __init__(self, *rows: int) -> None:
        self.rows = set(rows)

    def loss(self, model, batch, config):
        result = sft.loss(model, batch, config)
        if self.rows & set(batch.rows):
            result = replace(result, total=result.total * float("nan"))
        return result


class Lacks:
    """The objective sft, on a machine with room for ``most`` examples."""

    def __init__(self, most: int, error: Exception) -> None:
        self.most, self.error, self.sizes = most, error, []

    def loss(self, model, batch, config):
        if not torch.is_grad_enabled():  # an evaluation keeps no activations
            return sft.loss(model, batch, config)
        self.sizes.append(len(batch.input_ids))
        if len(batch.input_ids) > self.most:
            raise self.error
        return sft.loss(model, batch, config)


def lines(folder):
    return [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_step_with_a_nan_is_left_out_and_its_rows_named(tmp_path):
    says = Says()
    job = make_job(
        tmp_path, job={"objective": Spoils(5), "progress": says}, on_nan="skip", logging_steps=1
    )
    outcome = train(job)
    assert outcome.skipped_steps == 1
    assert all(torch.isfinite(w).all() for w in weights(job.model).values())
    (said,) = says.warned
    assert "loss is nan" in said and "row 5" in said
    (noted,) = [x for x in lines(tmp_path) if "skipped" in x]
    assert noted["skipped"] == 1 and "row 5" in noted["why"]
    assert len([x for x in lines(tmp_path) if "loss" in x]) == outcome.steps - 1
    assert outcome.loss > 0


def test_what_is_left_out_leaves_no_trace(tmp_path):
    """The step after a skipped one does what it would have done had that never been."""
    without = make_job(tmp_path / "a", tiny_lora(dropout=0.0), job={"objective": Spoils()})
    kept = weights(without.model)
    poisoned = make_job(
        tmp_path / "b",
        tiny_lora(dropout=0.0),
        job={"objective": Spoils(*range(100))},
        on_nan="skip",
    )
    assert train(poisoned).skipped_steps == 6
    assert same_weights(weights(poisoned.model), kept)


def test_too_many_in_a_row_stop_it(tmp_path):
    job = make_job(
        tmp_path, job={"objective": Spoils(*range(100))}, on_nan="skip", num_train_epochs=5.0
    )
    with pytest.raises(RunError, match=f"{stepping.SKIPS} steps in a row"):
        train(job)


def test_counts_of_left_out_steps_outlast_a_stop(tmp_path):
    class Stops(Says):
        def warn(self, line: str) -> None:
            super().warn(line)
            job.stop.code = 143

    def made(progress):
        return make_job(tmp_path, job={"objective": Spoils(5), "progress": progress}, on_nan="skip")

    job = made(Stops())
    with pytest.raises(Interrupted):
        train(job)
    assert train(made(Says())).skipped_steps == 1


@pytest.mark.parametrize(("error", "packed"), [(LACKS[0], False), (LACKS[1], True)])
def test_smaller_micro_batches_give_the_same(error, packed, tmp_path):
    options = {"per_device_train_batch_size": 6, "optim": "sgd", "max_grad_norm": None}

    def made(folder, **more):
        model = tiny_lora(dropout=0.0).double()
        return make_job(tmp_path / folder, model, packed=packed, **{**options, **more})

    roomy = made("roomy")
    train(roomy)
    says, short = Says(), Lacks(1 if packed else 2, error)
    tight = made("tight", job={"objective": short, "progress": says}, on_oom="shrink")
    outcome = train(tight)
    assert outcome.halvings >= 1 and len(says.warned) == outcome.halvings
    assert "which trains the same" in says.warned[0] and "step 1" in says.warned[0]
    expected = weights(roomy.model)
    for name, value in weights(tight.model).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-12)


def test_the_size_found_is_kept_over_a_resume(tmp_path):
    def made():
        short = Lacks(2, LACKS[0])
        options = {"per_device_train_batch_size": 4, "on_oom": "shrink", "save_steps": 1}
        return short, make_job(tmp_path, job={"objective": short, "progress": Says()}, **options)

    short, job = made()
    object.__setattr__(job, "progress", stops := Says())
    stops.warn = lambda line: setattr(job.stop, "code", 143)
    with pytest.raises(Interrupted):
        train(job)
    short, job = made()
    assert train(job).halvings == 1
    assert max(short.sizes) == 2  # it never tried four again


def test_all_processes_halve_together(tmp_path):
    """Memory is short in the second of two processes only; both go on, and as one would."""
    options = {"per_device_train_batch_size": 4, "optim": "sgd", "max_grad_norm": None}
    one = job_for(tmp_path / "one", 1, model=tiny_lora(dropout=0.0).double(), **options | EIGHT)
    train(one)
    expected = weights(one.model)

    def work(rank: int) -> None:
        job = job_for(tmp_path / "two", 2, on_oom="shrink", **options)
        object.__setattr__(job, "objective", Lacks(2 if rank else 99, LACKS[0]))
        assert train(job).halvings == 1
        save_file(weights(job.model), tmp_path / f"{rank}.safetensors")

    in_processes(2, work)
    for rank in range(2):
        for name, value in load_file(tmp_path / f"{rank}.safetensors").items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-9)


def test_nothing_left_to_halve(tmp_path):
    job = make_job(tmp_path, job={"objective": Lacks(0, LACKS[0])}, on_oom="shrink")
    with pytest.raises(RunError, match="nothing left to halve") as told:
        train(job)
    assert "Tried to allocate 2.00 GiB" in str(told.value)


@pytest.mark.parametrize("error", LACKS, ids=["gpu", "cpu"])
def test_by_default_it_stops_and_says_what_to_do(error, tmp_path):
    job = make_job(tmp_path, job={"objective": Lacks(1, error)})
    with pytest.raises(RunError, match=r"train\.on_oom: shrink"):
        train(job)


def test_an_evaluation_names_its_own_key(tmp_path):
    class Never(Lacks):
        def loss(self, model, batch, config):
            if torch.is_grad_enabled():
                return sft.loss(model, batch, config)
            raise self.error

    job = make_job(tmp_path, eval_rows=some_rows(4), job={"objective": Never(0, LACKS[0])})
    with pytest.raises(RunError, match=r"train\.per_device_eval_batch_size"):
        train(job)


def test_dropout_begins_again_with_the_smaller_ones(tmp_path):
    """Twice the same want of room gives the same weights."""
    found = []
    for folder in ("a", "b"):
        short = Lacks(2, LACKS[0])
        options = {"per_device_train_batch_size": 4, "on_oom": "shrink"}
        job = make_job(
            tmp_path / folder, tiny_lora(dropout=0.3), job={"objective": short}, **options
        )
        train(job)
        found.append(weights(job.model))
    assert same_weights(*found)


def test_a_plan_of_this_size_has_something_to_halve():
    rows = some_rows()
    steps = make_plan(rows, settings(per_device_train_batch_size=6)).epoch(0)
    assert max(len(m.lines) for m in steps[0].micros[0]) > 2
