"""Spikes of a finite loss or gradient: what counts as one, and what becomes of the step."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
import torch
from forked import Stops
from test_train_faults import Says, lines
from test_train_processes import in_processes, job_for
from tiny_training import make_job, metrics, same_weights, tiny_lora, weights

from ftune.errors import Interrupted, RunError
from ftune.train import spikes, stepping
from ftune.train.loop import train
from ftune.train.objectives import sft

RULE = {"spikes": {"window": 8}, "on_spike": "skip", "logging_steps": 1}
LONG = {"num_train_epochs": 3.0, **RULE}


class Jumps:
    """The objective sft, with a loss a thousand times as high at the ``at``-th batches."""

    def __init__(self, *at: int) -> None:
        self.at, self.count = set(at), 0

    def loss(self, model, batch, config):
        self.count += 1
        result = sft.loss(model, batch, config)
        if self.count in self.at:
            result = replace(result, total=result.total * 1000.0)
        return result


def test_the_rule_is_the_one_that_is_told():
    recent = [(1.0 + i / 100, 10.0 + i) for i in range(20)]
    losses = [loss for loss, _ in recent]
    middle = statistics.median(losses)
    spread = statistics.median(abs(x - middle) for x in losses)
    most = spikes.limits(recent, 5.0, 20)
    assert most is not None
    assert most[0] == pytest.approx(middle + 5.0 * max(1.4826 * spread, middle / 20))
    assert spikes.limits(recent, 5.0, 21) is None
    assert "loss is 2" in spikes.spike((2.0, 1.0), most)
    assert "norm is 1000" in spikes.spike((1.0, 1000.0), most)
    assert spikes.spike((0.0, 0.0), most) == ""
    # Steps that are all alike: half as much again, by the floor.
    assert spikes.limits([(2.0, 4.0)] * 8, 10.0, 8) == (3.0, 6.0)


def test_a_spike_is_left_out_counted_and_its_rows_named(tmp_path):
    says = Says()
    job = make_job(tmp_path, job={"objective": Jumps(21), "progress": says}, **LONG)
    outcome = train(job)
    assert (outcome.spiked_steps, outcome.skipped_steps) == (1, 0)
    (said,) = says.warned
    assert said.startswith("step 11: the loss is") and "counts as a spike" in said
    step = job.plan.epoch(1)[11 - 1 - len(job.plan.epoch(0))]
    assert said.partition("its rows: ")[2].split(", ") == [  # of its first micro-batch only
        f"row {row}" for row in sorted(job.collate(step.micros[0][0]).rows)
    ]
    (noted,) = [x for x in lines(tmp_path) if "skipped" in x]
    assert noted["step"] == 11
    assert [x["step"] for x in lines(tmp_path) if "loss" in x] == [
        n for n in range(1, 19) if n != 11
    ]


def test_before_there_are_enough_steps_none_is_a_spike(tmp_path):
    outcome = train(make_job(tmp_path, job={"objective": Jumps(9)}, **RULE))
    assert outcome.spiked_steps == 0


def test_it_stops_before_the_step_is_applied_and_goes_on_with_skip(tmp_path):
    def made(folder, on_spike, *at):
        jumps = {"objective": Jumps(*at)}
        options = {**LONG, "on_spike": on_spike, "save_steps": 5}
        return make_job(tmp_path / folder, tiny_lora(dropout=0.0), job=jumps, **options)

    straight = made("straight", "skip", 25)
    train(straight)
    with pytest.raises(RunError, match=r"step 13: the loss .* its rows: .* train\.on_spike: skip"):
        train(made("tried", "stop", 25))
    again = made("tried", "skip", 5)  # five batches after the checkpoint of step 10
    assert train(again).spiked_steps == 1
    assert same_weights(weights(again.model), weights(straight.model))
    assert metrics(tmp_path / "tried") == metrics(tmp_path / "straight")


def test_what_was_seen_outlasts_a_stop(tmp_path):
    def made(*at):
        return make_job(tmp_path, job={"objective": Jumps(*at)}, **LONG)

    job = made()
    object.__setattr__(job, "progress", Stops(job, 9))
    with pytest.raises(Interrupted):
        train(job)
    assert train(made(1)).spiked_steps == 1  # the first step of this sitting


def test_ten_in_a_row_stop_it(tmp_path):
    job = make_job(
        tmp_path, job={"objective": Jumps(*range(21, 200))}, **{**LONG, "num_train_epochs": 5.0}
    )
    with pytest.raises(RunError, match=f"{stepping.SKIPS} steps in a row .* on_spike: skip"):
        train(job)


def test_ignored_it_is_trained_on(tmp_path):
    job = make_job(tmp_path / "a", tiny_lora(dropout=0.0), job={"objective": Jumps(21)},
                   **{**LONG, "on_spike": "ignore", "spikes": {}})  # fmt: skip
    outcome = train(job)
    assert outcome.spiked_steps == 0
    assert all(torch.isfinite(w).all() for w in weights(job.model).values())


def test_two_processes_leave_out_the_same_step(tmp_path):
    """The jump is in the second one's batch only; the first tells the second's rows."""

    def work(rank: int) -> None:
        at = (11,) if rank else ()
        job = job_for(tmp_path, 2, gradient_accumulation_steps=1, **LONG)
        object.__setattr__(job, "objective", Jumps(*at))
        says = Says()
        object.__setattr__(job, "progress", says)
        outcome = train(job)
        assert outcome.spiked_steps == 1, outcome
        assert [line.partition(":")[0] for line in says.warned] == [
            "step 10"
        ]  # one batch was an evaluation
        torch.save(weights(job.model), tmp_path / f"{rank}.pt")

    in_processes(2, work)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert same_weights(one, two)
    (noted,) = [x for x in lines(tmp_path) if "skipped" in x]
    assert len(noted["why"].partition("its rows: ")[2].split(", ")) == 2
