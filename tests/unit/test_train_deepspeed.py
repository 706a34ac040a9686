"""A training under DeepSpeed's ZeRO is that of one process without, stops and goes on as one."""

from __future__ import annotations

import gc
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from forked import Stops, in_processes, one_thread, planned  # noqa: F401
from safetensors.torch import load_file, save_file
from tiny_training import make_job, metrics, settings, some_rows, tiny_llama, tiny_lora, weights

from ftune.errors import Interrupted, ModelError, RecipeError, RunError
from ftune.recipe.deepspeed import settled
from ftune.train.loop import train
from ftune.train.objectives import sft

pytest.importorskip("deepspeed", reason="DeepSpeed is an extra: pip install 'ftune[deepspeed]'")

OPTIONS = {
    "learning_rate": 3e-3,
    "adam_epsilon": 1e-4,  # else rounding may turn the sign of a whole update
    "max_grad_norm": 0.5,
    "gradient_accumulation_steps": 2,
    "logging_steps": 1,
    "save_steps": 2,
    "max_steps": 4,
}
NEAR = {"rtol": 0, "atol": 2e-6}  # DeepSpeed works in float32


def full() -> torch.nn.Module:
    return tiny_llama(tie_word_embeddings=True, attention_bias=True)


def lora() -> torch.nn.Module:
    return tiny_lora(dropout=0.0)


def zero(stage: int, **more) -> dict:
    # Without it small parameters stay whole in stage 3, and all of these are small.
    few = {"stage3_param_persistence_threshold": 0} if stage == 3 else {}
    return {"zero_optimization": {"stage": stage, **few, **more}}


class Dies(Stops):
    """Kills the process once a step is done."""

    def update(self, done, **figures) -> None:
        if done == self.at and "rate" in figures:
            os.kill(os.getpid(), signal.SIGKILL)


def job_for(folder: Path, processes: int, model, config=None, begun=None, stop=None, **more):
    options = {**OPTIONS, "per_device_train_batch_size": 4 // (begun or 1), **more}
    rows, section = some_rows(), settings(**options)
    job = make_job(
        folder,
        model,
        rows,
        eval_rows=some_rows(9, seed=4),  # three batches: two processes have not as many each
        job={
            **planned(rows, section, processes, begun),
            "deepspeed": config and settled(config, section),
        },
        **options,
    )
    object.__setattr__(job, "progress", Stops(job, stop))
    return job


def trained_as(folder: Path, job):
    outcome = train(job)
    if os.environ.get("RANK", "0") == "0":
        save_file({n: t.contiguous() for n, t in weights(job.model).items()}, folder / "end")
    return outcome


def same(one: Path, other: Path) -> None:
    ours, theirs = load_file(one / "end"), load_file(other / "end")
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], **NEAR)
    for line, expected in zip(metrics(one), metrics(other), strict=True):
        assert line == pytest.approx(expected, abs=2e-6)


@pytest.fixture(scope="module", autouse=True)
def alone(tmp_path_factory) -> dict[str, Path]:
    """Plain trainings in one process, whose steps are planned for two."""
    found = {}
    for make in (lora, full):
        found[make.__name__] = tmp_path_factory.mktemp(make.__name__)
        trained_as(found[make.__name__], job_for(found[make.__name__], 1, make(), begun=2))
    gc.freeze()  # DeepSpeed collects garbage, in each forked process all of pytest's
    return found


CPU = {"device": "cpu"}


@pytest.mark.parametrize(
    ("make", "config"),
    [
        (full, zero(0)),
        (lora, zero(1)),
        (full, zero(2)),
        (full, zero(2, offload_optimizer=CPU, round_robin_gradients=True)),
        (lora, zero(3)),
        (full, zero(3, offload_optimizer=CPU, offload_param=CPU)),
    ],
)
def test_two_train_as_one(tmp_path, alone, make, config):
    def work(rank: int) -> None:
        told = trained_as(tmp_path, job_for(tmp_path, 2, make(), config, begun=2)).deepspeed
        stage, size = config["zero_optimization"]["stage"], 4 * told["trained_elements"]
        assert told["stage"] == stage and told["processes"] == 2
        assert told["parameters_split"] == (told["parameters"] if stage == 3 else 0)
        for held, whole, since in (
            (told["parameter_bytes_of_each"], told["parameter_bytes"], 3),
            (told["optimizer_bytes_of_each"], 2 * size, 1),
            # Of stage 1 too a process keeps only its own part, once they are added up.
            (told["gradient_bytes_of_each"], size, 1),
        ):
            assert held == ([whole // 2] * 2 if stage >= since else [whole] * 2)

    in_processes(2, work)
    same(tmp_path, alone[make.__name__])


def test_killed_and_gone_on_with_in_other_stages_and_numbers(tmp_path, alone):
    """Two in stage 3, of which one is killed; one in stage 2; two in stage 1; one without."""

    def killed(rank: int) -> None:
        job = job_for(tmp_path, 2, full(), zero(3), begun=2, stop=2)
        if rank:
            object.__setattr__(job, "progress", Dies(job, 2))
        with pytest.raises(RuntimeError):
            train(job)

    def go_on(processes: int, config: dict, stop: int) -> None:
        def work(rank: int) -> None:
            with pytest.raises(Interrupted):
                train(job_for(tmp_path, processes, full(), config, begun=2, stop=stop))

        in_processes(processes, work)

    in_processes(2, killed, ends=(0, signal.SIGKILL))
    go_on(1, zero(2), stop=2)
    go_on(2, zero(1), stop=3)
    trained_as(tmp_path, job_for(tmp_path, 1, full(), begun=2))
    same(tmp_path, alone["full"])


def test_two_stopped_and_gone_on_with_by_two_end_equal(tmp_path):
    (straight := tmp_path / "straight").mkdir()
    (stopped := tmp_path / "stopped").mkdir()

    def work(folder: Path, stop: int | None) -> None:
        def each(rank: int) -> None:
            model = tiny_llama(attention_dropout=0.3)
            job = job_for(folder, 2, model, zero(3), begun=2, stop=stop)
            if stop is None:
                trained_as(folder, job)
            else:
                with pytest.raises(Interrupted):
                    train(job)

        in_processes(2, each)

    work(straight, None)
    work(stopped, 2)
    work(stopped, None)
    assert (straight / "end").read_bytes() == (stopped / "end").read_bytes()
    assert metrics(straight) == metrics(stopped)


class Nan:
    """The objective, of which the third micro-batch's loss is no number."""

    def __init__(self) -> None:
        self.calls = 0

    def loss(self, model, batch, config):
        found = sft.loss(model, batch, config)
        if model.training:
            self.calls += 1
        return replace(found, total=found.total * math.nan) if self.calls == 3 else found


@pytest.mark.parametrize("config", [zero(0), zero(2, offload_optimizer=CPU), zero(3)])
def test_a_step_that_is_no_number_is_left_out(tmp_path, config):
    def once(folder: Path, deepspeed: dict | None) -> None:
        folder.mkdir(exist_ok=True)
        job = job_for(folder, 1, full(), deepspeed, on_nan="skip")
        object.__setattr__(job, "objective", Nan())
        assert trained_as(folder, job).skipped_steps == 1

    def both(rank: int) -> None:
        once(tmp_path / "plain", None)
        once(tmp_path / "zero", config)
        same(tmp_path / "zero", tmp_path / "plain")

    in_processes(1, both)


def test_what_is_gathered_wrong_is_not_written(tmp_path, monkeypatch):
    from deepspeed.runtime.zero.stage3 import DeepSpeedZeroOptimizer_Stage3 as Stage3

    whole = Stage3.get_full_hp_param
    monkeypatch.setattr(Stage3, "get_full_hp_param", lambda *given: torch.zeros_like(whole(*given)))

    def work(rank: int) -> None:
        with pytest.raises(RunError, match="not what they hold"):
            train(job_for(tmp_path, 2, lora(), zero(3), begun=2))

    in_processes(2, work)
    assert not list(tmp_path.glob("checkpoints/step-*"))


@pytest.mark.parametrize("stage", [1, 3])
def test_a_model_is_as_it_was_before(tmp_path, stage):
    """Classes, hooks, ties and attributes: it can be trained again, saved and used."""
    model = full()

    def seen() -> list:
        ours = {"_is_accelerate_prepared"}  # accelerate's mark, which every training leaves
        hooks = [n for n in vars(model) if n.endswith("_hooks")]
        return [
            (type(m), type(m._parameters), set(vars(m)) - ours, [len(vars(m)[n]) for n in hooks])
            for m in model.modules()
        ], [set(vars(p)) for p in model.parameters()]

    before, linear = seen(), torch.nn.functional.linear

    def work(rank: int) -> None:
        for turn in ("one", "two"):
            (tmp_path / turn).mkdir()
            train(job_for(tmp_path / turn, 1, model, zero(stage)))
            assert seen() == before
            assert torch.nn.functional.linear is linear and "LOCAL_RANK" in os.environ
        assert model.lm_head.weight is model.model.embed_tokens.weight
        model.save_pretrained(tmp_path / "saved")
        again = type(model).from_pretrained(tmp_path / "saved", dtype=torch.float32)
        for name, value in model.state_dict().items():
            assert torch.equal(value, again.state_dict()[name])

    in_processes(1, work)


def test_weights_that_are_trained_in_16_bits_are_refused(tmp_path):
    def work(rank: int) -> None:
        with pytest.raises(RecipeError, match=r"embed_tokens.weight is trained in bfloat16"):
            train(job_for(tmp_path, 1, full().bfloat16(), zero(2)))

    in_processes(1, work)


def test_what_deepspeed_refuses_is_told(tmp_path):
    def work(rank: int) -> None:
        with pytest.raises(ModelError, match="DeepSpeed does not take LlamaForCausalLM"):
            train(job_for(tmp_path, 1, full(), zero(2, no_such_key=1)))

    in_processes(1, work)


def test_frozen_weights_of_16_bits_stay_as_they_are(tmp_path):
    def work(rank: int) -> None:
        model = lora()
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.bfloat16()
        before = weights(model)
        frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
        options = {"begun": 2, "max_steps": 2, "gradient_checkpointing": True}
        job = job_for(tmp_path, 2, model, zero(3), **options)
        trained_as(tmp_path, replace(job, mixed_precision="bf16"))
        now = dict(model.named_parameters())
        assert rank or all(torch.equal(now[n], p) for n, p in frozen.items())
        assert rank or not all(torch.equal(now[n], p) for n, p in before.items())

    in_processes(2, work)
