"""What methods want of the loop: LoRA+'s rates, and AdaLoRA's ranks, penalty and state."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from test_train_resume import StopAt
from tiny_training import (
    make_job,
    metrics,
    same_weights,
    settings,
    some_rows,
    tiny_llama,
    weights,
)
from transformers import PreTrainedTokenizerFast

from ftune.errors import Interrupted, ModelError
from ftune.model import adapters
from ftune.model.loading import Loaded
from ftune.model.tuning import adalora, lora
from ftune.train import optim
from ftune.train.hooks import Hooks
from ftune.train.loop import train

NAMES = ("begin", "penalty", "after_step", "state", "load_state")


def tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")))


def made(**keys: Any) -> Any:
    config = adalora.Config(**{"init_r": 4, "target_r": 2, "tfinal": 2, **keys})
    return adalora.attach(tiny_llama(), config, None)


def job_for(folder: Path, model: Any, **options: Any) -> Any:
    hooks = Hooks(**{name: partial(getattr(adalora, name), model) for name in NAMES})
    return make_job(folder, model, job={"hooks": hooks}, **options)


def penalty_of(model: Any) -> float:
    return float(adalora.penalty(model).detach())


def live_ranks(model: Any) -> int:
    found = [p for n, p in model.named_parameters() if "lora_E" in n]
    return sum(int((p != 0).sum()) for p in found)


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(3, 15)[None], use_cache=False).logits


def test_adalora_ranks_fall_to_the_target(tmp_path: Path) -> None:
    model = made()
    layers = sum("lora_E" in n for n, _ in model.named_parameters())
    train(job_for(tmp_path, model, max_steps=10))
    assert 0 < live_ranks(model) <= 2 * layers
    config = model.peft_config["default"]
    assert config.total_step == 10
    assert sum(map(sum, config.rank_pattern.values())) == 2 * layers


@pytest.mark.parametrize("keys", [{}, {"deltaT": 3, "tinit": 2}], ids=str)
def test_adalora_goes_on_bit_for_bit(tmp_path: Path, keys: dict[str, int]) -> None:
    options = {"max_steps": 9, "eval_rows": some_rows(5, seed=1), "save_steps": 2}
    straight = made(**keys)
    train(job_for(tmp_path / "straight", straight, **options))
    for step in range(1, 9):
        folder, progress = tmp_path / str(step), StopAt(step)
        job = replace(job_for(folder, made(**keys), **options), progress=progress)
        progress.job = job
        with pytest.raises(Interrupted):
            train(job)
        model = made(**keys)
        assert train(job_for(folder, model, **options)).resumed_from == step
        assert same_weights(weights(model), weights(straight))
        assert metrics(folder) == metrics(tmp_path / "straight")
        patterns = [m.peft_config["default"].rank_pattern for m in (model, straight)]
        assert patterns[0] == patterns[1]


@pytest.mark.parametrize("steps", [3, 4, 8], ids=["between", "at", "done"])
def test_adalora_is_saved_as_it_stands(tmp_path: Path, steps: int) -> None:
    """Also where a training ends early, between two allocations of ranks."""
    model = made(deltaT=4)
    progress = StopAt(steps if steps < 8 else None)
    job = replace(job_for(tmp_path / "run", model, max_steps=8), progress=progress)
    progress.job = job
    if steps < 8:
        with pytest.raises(Interrupted):
            train(job)
    else:
        train(job)
    expected = logits(model)
    identity = {"name": "tiny", "fingerprint": "x", "commit": None}
    folder = tmp_path / "adapter"
    adapters.save(model, folder, base=identity, tokenizer=tokenizer(), method="adalora")
    base = Loaded(tiny_llama(), None, torch.device("cpu"), torch.float32, identity, {})
    again = adapters.load(base, folder)
    torch.testing.assert_close(logits(again), expected, rtol=0, atol=1e-6)
    if steps == 8:
        kept = sum(p.shape[0] for n, p in again.named_parameters() if "lora_E" in n)
        assert kept == sum(map(sum, model.peft_config["default"].rank_pattern.values()))


def test_adalora_loads_the_best_weights_with_their_ranks(tmp_path: Path) -> None:
    model = made(tfinal=0)
    options = {"max_steps": 8, "eval_rows": some_rows(5, seed=1), "eval_steps": 1, "save_steps": 1}
    rates = {"learning_rate": 0.3, "lr_scheduler_type": "constant"}
    outcome = train(job_for(tmp_path, model, load_best_model_at_end=True, **rates, **options))
    assert outcome.weights_of_step < 8
    expected = logits(model)
    identity = {"name": "tiny", "fingerprint": "x", "commit": None}
    folder = tmp_path / "adapter"
    adapters.save(model, folder, base=identity, tokenizer=tokenizer(), method="adalora")
    base = Loaded(tiny_llama(), None, torch.device("cpu"), torch.float32, identity, {})
    torch.testing.assert_close(logits(adapters.load(base, folder)), expected, rtol=0, atol=1e-6)


def test_adaloras_penalty_is_pefts() -> None:
    model = made()
    ids = torch.arange(3, 15)[None]
    found = []
    for weight in (0.0, 0.5):
        model.peft_config["default"].orth_reg_weight = weight
        found.append(float(model(input_ids=ids, labels=ids).loss.detach()))
    assert penalty_of(model) == pytest.approx(found[1] - found[0], rel=1e-4)


def test_the_penalty_is_trained_and_not_logged(tmp_path: Path) -> None:
    one, other = made(orth_reg_weight=0.0), made(orth_reg_weight=50.0)
    options = {"max_steps": 1, "logging_steps": 1, "optim": "sgd"}
    for name, model in (("one", one), ("other", other)):
        train(job_for(tmp_path / name, model, **{**options, "max_steps": 4}))
    first = [metrics(tmp_path / name)[0]["loss"] for name in ("one", "other")]
    assert first[0] == first[1]
    assert penalty_of(other) / 50 < penalty_of(made()) / 0.5


def test_adalora_refuses_a_training_that_is_too_short(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tune.tinit: 5 .* too few of the 4 steps"):
        train(job_for(tmp_path, made(tinit=5), max_steps=4))
    with pytest.raises(ModelError, match=r"too few of the 1 steps"):
        train(job_for(tmp_path, made(tfinal=0), max_steps=1))
    train(job_for(tmp_path, made(tfinal=0), max_steps=2))
    with pytest.raises(ModelError, match=r"tune\.init_r"):
        made(target_r=4)


def test_lora_plus_gives_the_second_matrix_its_rate(tmp_path: Path) -> None:
    config = lora.Config(r=2, loraplus_lr_ratio=16.0)
    model = lora.attach(tiny_llama(), config, None)
    chosen = settings(weight_decay=0.1)
    groups = lora.parameter_groups(model, config, chosen)
    names = {id(p): n for n, p in model.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in groups for p in group["params"]}
    assert rates.keys() == {n for n, p in model.named_parameters() if p.requires_grad}
    assert all(rate == (0.16 if "lora_B" in n else 0.01) for n, rate in rates.items())
    optimizer = optim.build_optimizer(model, chosen, StopAt(None), groups)
    assert sorted({g["lr"] for g in optimizer.param_groups}) == [0.01, 0.16]
    assert lora.parameter_groups(model, lora.Config(), chosen) is None

    steps = []
    for asked in (config, lora.Config(r=2)):
        model = lora.attach(tiny_llama(), asked, None)
        before = weights(model)
        groups_of = partial(lora.parameter_groups, model, asked, chosen)
        name = str(asked.loraplus_lr_ratio)
        train(make_job(tmp_path / name, model, job={"hooks": Hooks(groups=groups_of)}, max_steps=1))
        moved = {n: float((p - before[n]).abs().max()) for n, p in weights(model).items()}
        steps.append({n: moved[n] for n in moved if "lora_B" in n})
    ratios = [steps[0][n] / steps[1][n] for n in steps[0]]
    assert ratios == pytest.approx([16.0] * len(ratios), rel=1e-2)
