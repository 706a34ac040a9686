"""Layers compiled with torch.compile train as they do without, and go on bit for bit."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import peft
import pytest
import torch
from tiny_training import make_job, metrics, same_weights, some_rows, tiny_llama, weights

from ftune.errors import Interrupted, RecipeError
from ftune.run.progress import Silent
from ftune.run.signals import StopFlag
from ftune.train.loop import train

# 9 rows in batches of 2: one of them stands alone in its batch.
OPTIONS = {
    "max_steps": 6,
    "logging_steps": 1,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "eval_steps": 2,
    "learning_rate": 0.05,
    "optim": "sgd",
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Other:
    def update(self, done, **figures) -> None:
        """Another meter than that of the steps."""


class Stops(Silent):
    """Asks for a stop after a step."""

    def __init__(self, stop: StopFlag, at: int) -> None:
        self.stop, self.at = stop, at

    @contextmanager
    def meter(self, title, total, unit):
        yield self if title == "train" else Other()

    def update(self, done, **figures) -> None:
        if done == self.at:
            self.stop.code = 143


def one_layer():
    """One, since each kind of layer costs seconds: with dropout."""
    lora = peft.LoraConfig(
        r=2, lora_dropout=0.2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"
    )
    return peft.get_peft_model(tiny_llama(num_hidden_layers=1), lora)


def job_for(folder: Path, model, stop_at: int | None = None, **options):
    stop = StopFlag()
    job = {"stop": stop}
    if stop_at is not None:
        job["progress"] = Stops(stop, stop_at)
    rows, held_out = some_rows(9), some_rows(5, seed=4)
    given = {**OPTIONS, "torch_compile": True, **options}
    return make_job(folder, model, rows, eval_rows=held_out, job=job, **given)


def apart(one, other) -> float:
    assert one.keys() == other.keys()
    return max(float((one[n] - other[n]).abs().max()) for n in one)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A LoRA with dropout, trained with compiled layers."""
    folder, model = tmp_path_factory.mktemp("compiled"), one_layer()
    return train(job_for(folder, model)), folder, weights(model), model


def test_it_is_said_and_nothing_of_it_stays(compiled):
    outcome, _, _, model = compiled
    assert outcome.fast_paths["compiled"] == "1 modules"
    assert outcome.fast_paths["lora"] == "not taken: it steps aside for compiled layers"
    assert outcome.fast_paths["head"] == "taken"
    assert not any("_orig_mod" in name for name in model.state_dict())
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_it_trains_as_without(compiled, tmp_path):
    _, folder, after, _ = compiled
    model = one_layer()
    train(job_for(tmp_path, model, torch_compile=False))  # the same dropout is drawn
    assert apart(weights(model), after) < 1e-6
    for ours, theirs in zip(metrics(folder), metrics(tmp_path), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_it_goes_on_bit_for_bit(compiled, tmp_path):
    at = 4
    _, folder, after, _ = compiled
    with pytest.raises(Interrupted):
        train(job_for(tmp_path, one_layer(), stop_at=at))
    model = one_layer()
    assert train(job_for(tmp_path, model)).resumed_from == at
    assert same_weights(weights(model), after)
    assert metrics(tmp_path) == metrics(folder)


def test_no_compiler(tmp_path, monkeypatch):
    def missing() -> str:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", missing)
    with pytest.raises(RecipeError, match=r"torch_compile: no C\+\+ compiler .* \(apt install"):
        train(job_for(tmp_path, one_layer()))


def test_no_layers(tmp_path, monkeypatch):
    monkeypatch.setattr("ftune.fast.recompute.blocks", lambda model: [])
    with pytest.raises(RecipeError, match="no layers of its own kind"):
        train(job_for(tmp_path, one_layer()))
