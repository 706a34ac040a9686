"""The loop: what it logs, that a split changes nothing, and what stops it."""

from __future__ import annotations

import json
import math
import resource
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import (
    make_job,
    metrics,
    same_weights,
    some_rows,
    tiny_llama,
    tiny_lora,
    weights,
)

from ftune.errors import Interrupted, ModelError, RecipeError, RunError
from ftune.run.progress import Silent
from ftune.train.loop import train
from ftune.train.objectives import sft


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    warn = say


def test_it_learns_and_says_so(tmp_path):
    model = tiny_llama().eval()
    rows = some_rows(8)
    outcome = train(make_job(tmp_path, model, rows, num_train_epochs=30.0, logging_steps=7))
    assert outcome.final_loss < 1 < 3 < metrics(tmp_path)[0]["loss"]
    assert outcome.steps == 60
    assert outcome.epochs == 30
    assert outcome.rows == 30 * 8
    assert outcome.tokens == 30 * sum(len(ids) for ids, _ in rows)
    assert outcome.trained_tokens == 30 * sum(int(t[1:].sum()) for _, t in rows)
    assert outcome.weights_of_step == 60
    assert outcome.tokens_per_second > 0
    assert outcome.peak_memory_bytes > 10**7
    lines = metrics(tmp_path)
    assert [line["step"] for line in lines] == [7, 14, 21, 28, 35, 42, 49, 56, 60]
    assert lines[-1]["trained_tokens"] == outcome.trained_tokens
    full = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert full.keys() == {
        "step",
        "epoch",
        "loss",
        "learning_rate",
        "grad_norm",
        "rows",
        "tokens",
        "trained_tokens",
        "tokens_per_second",
        "seconds",
        "memory_bytes",
    }
    assert not model.training  # given back as it came
    assert "forward" not in model.__dict__


@pytest.mark.parametrize("make", [tiny_llama, lambda: tiny_lora(dropout=0.0)])
def test_batch_and_accumulation_and_packing_change_nothing(tmp_path, make):
    """Plain gradient descent, so that what differs in a gradient differs in the weights."""
    ways = {
        "8x1": {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1},
        "4x2": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
        "1x8": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
        "checkpointing": {
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 2,
            "gradient_checkpointing": True,
        },
    }
    common = {"optim": "sgd", "max_grad_norm": None, "logging_steps": 1, "num_train_epochs": 2.0}
    results = {}
    for name, way in ways.items():
        model = make().double()
        train(make_job(tmp_path / name, model, **common, **way))
        assert not any(m._forward_hooks for m in model.modules())  # given back as it came
        results[name] = weights(model), metrics(tmp_path / name)
    first, lines = results.pop("8x1")
    assert len(lines) == 6
    for other, other_lines in results.values():
        for name in first:
            torch.testing.assert_close(other[name], first[name], rtol=0, atol=1e-9)
        for one, two in zip(lines, other_lines, strict=True):
            assert two["loss"] == pytest.approx(one["loss"], abs=1e-7)
            assert two["grad_norm"] == pytest.approx(one["grad_norm"], abs=1e-7)


def test_a_launchers_environment_does_not_divide_the_gradient_again(tmp_path, monkeypatch):
    norms = []
    for value in ("1", "4"):
        monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", value)
        train(make_job(tmp_path / value, tiny_llama(), max_steps=1, logging_steps=1))
        norms.append(metrics(tmp_path / value)[0]["grad_norm"])
    assert norms[0] == norms[1]


def test_one_big_packed_step_equals_the_unpacked_one(tmp_path):
    results = []
    for packed in (False, True):
        model = tiny_llama().double()
        options = {"per_device_train_batch_size": 23, "gradient_accumulation_steps": 1}
        job = make_job(
            tmp_path / str(packed), model, packed=packed, optim="sgd", max_steps=1, **options
        )
        train(job)
        results.append(weights(model))
    for name in results[0]:
        torch.testing.assert_close(results[0][name], results[1][name], rtol=0, atol=1e-9)


def test_the_schedule_warms_up_and_ends(tmp_path):
    train(make_job(tmp_path, max_steps=10, logging_steps=1, warmup_ratio=0.2, learning_rate=1.0))
    rates = [line["learning_rate"] for line in metrics(tmp_path)]
    assert rates == pytest.approx([0, 0.5, *(1 - i / 8 for i in range(8))])


def test_the_gradient_is_clipped_and_logged_before(tmp_path):
    start = weights(tiny_llama())
    model = tiny_llama()
    options = {"optim": "sgd", "max_steps": 1, "learning_rate": 1.0, "max_grad_norm": 0.01}
    train(make_job(tmp_path, model, **options))
    moved = math.sqrt(sum(float((p - start[n]).pow(2).sum()) for n, p in weights(model).items()))
    assert moved == pytest.approx(0.01, rel=1e-3)
    assert metrics(tmp_path)[0]["grad_norm"] > 0.1


def poison(job, call: int, value: float):
    """The objective with a factor on one micro-batch's loss."""
    calls = []

    class Poisoned:
        @staticmethod
        def loss(model, batch, config):
            calls.append(batch.rows)
            result = sft.loss(model, batch, config)
            return replace(result, total=result.total * value) if len(calls) == call else result

    return replace(job, objective=Poisoned, describe=lambda row: f"d.jsonl:{row + 1}"), calls


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_step(tmp_path, value):
    model = tiny_lora()
    job, calls = poison(make_job(tmp_path, model, save_steps=1, max_steps=8), 6, value)
    with pytest.raises(RunError, match=r"step 3: the loss is (nan|inf)") as caught:
        train(job)
    named = ", ".join(f"d.jsonl:{row + 1}" for row in sorted(calls[5]))
    assert f"its rows: {named};" in str(caught.value)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "step-000001",
        "step-000002",
    ]
    before = load_file(tmp_path / "checkpoints" / "step-000002" / "weights.safetensors")
    assert same_weights(weights(model), before)
    assert [line["step"] for line in metrics(tmp_path)] == [2]


def test_a_gradient_that_is_not_finite_stops_too(tmp_path):
    model = tiny_llama()
    model.model.norm.weight.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(RunError, match="step 1: the gradient's norm is nan"):
        train(make_job(tmp_path, model, max_steps=2))
    assert not (tmp_path / "checkpoints").exists()


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """The gradient is finite, what the step makes of the weights is not."""
    model = tiny_llama()
    model.model.norm.weight.register_hook(lambda gradient: gradient * 1e9)
    options = {"learning_rate": 1e36, "optim": "sgd", "max_steps": 1, "max_grad_norm": None}
    with pytest.raises(RunError, match=r"model\.norm\.weight is no longer finite"):
        train(make_job(tmp_path, model, **options))
    assert not list((tmp_path / "checkpoints").glob("step-*"))


def test_no_room_for_a_checkpoint(tmp_path):
    job = make_job(tmp_path, tiny_llama(), max_steps=3, save_steps=1)
    with pytest.raises(Interrupted):
        train(replace(job, progress=_Now(job)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(RunError) as caught:
            train(make_job(tmp_path, tiny_llama(), max_steps=3, save_steps=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    for words in ("step-000002", "it needs", "are free", "step-000001 is whole and safe"):
        assert words in str(caught.value)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]
    assert train(make_job(tmp_path, tiny_llama(), max_steps=3)).resumed_from == 1


class _Now(Silent):
    """Stops after the first step."""

    def __init__(self, job) -> None:
        self.job = job

    def meter(self, title, total, unit):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        pass

    def update(self, done: int, **figures: str) -> None:
        self.job.stop.code = 130


def worse_and_worse(job):
    """Evaluation losses 3, 1, 2, 2.5, ...: the second is the best."""
    losses = iter([3.0, 1.0, 2.0, 2.5, 2.7, 2.9, 3.0, 3.1])

    class Objective:
        @staticmethod
        def loss(model, batch, config):
            result = sft.loss(model, batch, config)
            if model.training:
                return result
            return replace(result, total=torch.tensor(next(losses) * result.count))

    return replace(job, objective=Objective)


def test_the_best_is_kept_and_loaded_and_patience_ends(tmp_path):
    model, heard = tiny_lora(), Heard()
    job = make_job(
        tmp_path,
        model,
        eval_rows=some_rows(3),
        eval_steps=2,
        save_total_limit=1,
        num_train_epochs=9.0,
        early_stopping_patience=3,
        load_best_model_at_end=True,
        job={"progress": heard},
    )
    outcome = train(worse_and_worse(job))
    assert (outcome.best_step, outcome.best_loss) == (4, 1.0)
    assert outcome.stopped_early
    assert (outcome.steps, outcome.weights_of_step) == (10, 4)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "step-000004",
        "step-000010",
    ]
    best = load_file(tmp_path / "checkpoints" / "step-000004" / "weights.safetensors")
    assert same_weights(weights(model), best)
    assert "evaluation at step 4: loss 1.0000, the best" in heard.lines
    losses = [x["eval_loss"] for x in metrics(tmp_path) if "eval_loss" in x]
    assert losses == pytest.approx([3, 1, 2, 2.5, 2.7])
    again = train(replace(make_job(tmp_path, tiny_lora()), settings=job.settings, plan=job.plan))
    assert (again.steps, again.weights_of_step, again.stopped_early) == (10, 4, True)


def test_evaluation_loss_is_the_mean_over_tokens(tmp_path):
    model, rows = tiny_llama(), some_rows(7, seed=3)
    outcome = train(make_job(tmp_path, model, eval_rows=rows, max_steps=2))
    total, count = 0.0, 0
    model.eval()
    for ids, trained in rows:
        trained = torch.tensor(trained)
        trained[0] = False
        labels = torch.where(trained, torch.tensor(ids), -100)[None]
        n = int(trained.sum())
        total += float(model(input_ids=torch.tensor(ids)[None], labels=labels).loss.detach()) * n
        count += n
    assert outcome.eval_loss == pytest.approx(total / count, rel=1e-6)


def test_packing_with_prompt_tuning_is_refused(tmp_path):
    import peft

    config = peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")
    model = peft.get_peft_model(tiny_llama(), config)
    with pytest.raises(ModelError, match=r"data\.packing: .* see each other"):
        train(make_job(tmp_path, model, packed=True))


def test_nothing_to_train_is_refused(tmp_path):
    model = tiny_llama().requires_grad_(False)
    with pytest.raises(ModelError, match="no trainable parameter"):
        train(make_job(tmp_path, model))


def test_half_precision_without_a_gpu_is_refused(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RecipeError, match="mixed_precision: fp16 can't be had on cpu"):
        train(make_job(tmp_path, job={"mixed_precision": "fp16"}))


def test_trackers(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    train(make_job(tmp_path, max_steps=4, report_to=("tensorboard",)))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "ftune"))
    events.Reload()
    assert [e.step for e in events.Scalars("loss")] == [2, 4]
    monkeypatch.setattr("ftune.train.tracking.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"pip install 'ftune\[wandb\]'"):
        train(make_job(tmp_path, report_to=("wandb",)))
