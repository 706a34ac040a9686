"""Trainings of a model that is split over processes, for the tests of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from forked import Stops, planned
from safetensors.torch import load_file, save_file
from tiny_training import make_job, metrics, settings, some_rows, tiny_llama, tiny_lora, weights
from torch.distributed.tensor import DTensor

from ftune.train.loop import train

OPTIONS = {
    "learning_rate": 3e-3,
    "adam_epsilon": 1e-4,  # else rounding may turn the sign of a whole update
    "max_grad_norm": 0.5,
    "logging_steps": 1,
    "save_steps": 2,
    "num_train_epochs": 2.0,
}
NEAR = {"rtol": 0, "atol": 1e-9}  # in float64


def full() -> torch.nn.Module:
    return tiny_llama(tie_word_embeddings=True, attention_bias=True).double()


def lora() -> torch.nn.Module:
    return tiny_lora(dropout=0.0).double()


class Looks(Stops):
    """Counts DTensors once a step is done, and may stop or kill the process then."""

    def __init__(self, job, at: int | None, kill: bool = False) -> None:
        super().__init__(job, at)
        self.kill, self.split, self.whole = kill, 0, 0

    def update(self, done, **figures) -> None:
        if "rate" not in figures:  # in an evaluation, where what stands around layers is gathered
            return
        for parameter in self.job.model.parameters():
            split = isinstance(parameter, DTensor)
            self.split, self.whole = self.split + split, self.whole + (not split)
        if self.kill and done == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        super().update(done, **figures)


def job_for(
    folder: Path, processes: int, model, fsdp=None, begun=None, stop=None, kill=False, **more
):
    rows, options = some_rows(), {**OPTIONS, "per_device_train_batch_size": 4 // (begun or 1)}
    job = make_job(
        folder,
        model,
        rows,
        eval_rows=some_rows(9, seed=4),  # three batches: two processes have not as many each
        job={**planned(rows, settings(**options), processes, begun), "fsdp": fsdp, **more},
        **options,
    )
    object.__setattr__(job, "progress", Looks(job, stop, kill))
    return job


def trained_as(folder: Path, job) -> None:
    outcome = train(job)
    if job.keep is not None:
        assert outcome.sharding["written_in_shares"]
        assert all(p.is_meta for p in job.model.parameters())
    elif "RANK" not in os.environ or os.environ["RANK"] == "0":
        save_file({n: t.contiguous() for n, t in weights(job.model).items()}, folder / "end")
    else:
        assert all(p.is_meta for p in job.model.parameters())
    if job.fsdp is not None:
        assert job.progress.split > 0 and job.progress.whole == 0
        told = outcome.sharding
        assert told["parameters_split"] == told["parameters"]
        assert told["gradients_split"] == told["trained"] > 0
        assert told["optimizer_tensors_split"] == told["optimizer_tensors"] == 2 * told["trained"]
        for what in ("parameter", "optimizer"):
            each = told[f"{what}_bytes_of_each"]
            assert sum(each) == told[f"{what}_bytes"]
            assert max(each) <= 0.6 * sum(each) or len(each) == 1


def same(one: Path, other: Path) -> None:
    ours, theirs = load_file(one / "end"), load_file(other / "end")
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], **NEAR)
    for line, expected in zip(metrics(one), metrics(other), strict=True):
        assert line == pytest.approx(expected, abs=1e-9)
