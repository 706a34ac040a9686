"""ULMFiT's three: rates by layer, layers unfrozen one by one, and the slanted triangle."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_train_optim import NAMES
from test_train_processes import in_processes, job_for
from test_train_resume import StopAt
from tiny_training import (
    make_job,
    make_plan,
    metrics,
    same_weights,
    settings,
    some_rows,
    tiny_llama,
    weights,
)

from ftune.errors import Interrupted, RecipeError
from ftune.model.depth import layer_groups
from ftune.model.tuning import lora
from ftune.recipe.layerwise import SlantedTriangular, Unfreezing
from ftune.train import gradient, optim
from ftune.train.hooks import Hooks
from ftune.train.layerwise import LayerGroup, by_layer
from ftune.train.loop import train

DECAY = {"layer_rate_decay": 2.6}
BY_TWO = {"unfreeze_every": Unfreezing(steps=2)}
TRIANGLE = {"lr_scheduler_type": "slanted_triangular"}


def layers_of(model: Any) -> tuple[LayerGroup, ...]:
    return tuple(LayerGroup(*each) for each in layer_groups(model))


def job_with(folder: Path, model: Any, stop_at: int | None = None, **options: Any) -> Any:
    progress = StopAt(stop_at)
    job = make_job(folder, model, job={"layers": layers_of(model), "progress": progress}, **options)
    progress.job = job
    return job


# The schedule.


def paper(t: int, total: int, cut_frac: float, ratio: float) -> float:
    """Equation 3 as it is printed."""
    cut = math.floor(total * cut_frac)
    p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
    return (1 + p * (ratio - 1)) / ratio


@pytest.mark.parametrize(
    ("total", "cut_frac", "ratio"), [(100, 0.1, 32), (60, 0.25, 8), (7, 0.5, 2), (1000, 0.03, 100)]
)
def test_the_slanted_triangle_is_the_papers(total: int, cut_frac: float, ratio: float) -> None:
    shape = SlantedTriangular(cut_frac=cut_frac, ratio=float(ratio))
    section = settings(**TRIANGLE, slanted_triangular=shape, learning_rate=0.5)
    optimizer = optim.build_optimizer(tiny_llama(), section, StopAt(None))
    schedule = optim.build_schedule(optimizer, section, total)
    for t in range(total):
        expected = 0.5 * paper(t, total, cut_frac, ratio)
        lowest = 0.5 / ratio  # where the paper's rounding makes it fall too early, it stays there
        assert schedule.get_last_lr()[0] == pytest.approx(max(expected, lowest))
        optimizer.step()
        schedule.step()


def test_the_triangle_of_few_steps_falls_only() -> None:
    rates = [optim.slanted_triangular(t, 8, 0.1, 32) for t in range(9)]
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1 / 32)
    early = [optim.slanted_triangular(t, 19, 0.1, 32) for t in range(19)]
    assert paper(18, 19, 0.1, 32) < 0 < min(early) == 1 / 32
    assert optim.slanted_triangular(29, 100, 0.29, 32) == 1  # 0.29 * 100 is 28.999999999999996


# Rates and unfreezing, against plain torch.


def by_hand(model: Any, steps: int, learns: Any) -> dict[str, torch.Tensor]:
    """Weights after ``steps`` of AdamW, in whose groups each layer is written out."""
    rates = {"layers.1.": 1e-2, "norm": 1e-2, "lm_head": 1e-2}
    rates |= {"layers.0.": 1e-2 / 2.6, "embed": 1e-2 / 2.6**2}
    groups = []
    for name, p in model.named_parameters():
        key = next(k for k in ("layers.1.", "layers.0.", "embed", "lm_head", "norm") if k in name)
        decay = 0.1 if p.ndim > 1 else 0.0
        groups.append({"params": [p], "lr": rates[key], "weight_decay": decay, "key": key})
    optimizer = torch.optim.AdamW(groups)
    rows = some_rows()
    plan = make_plan(rows, settings()).epoch(0)
    for number in range(steps):
        total = torch.zeros(())
        for micro in plan[number].micros[0]:
            for line in micro.lines:
                for row in line:
                    ids, trained = (torch.as_tensor(part) for part in rows[row])
                    logits = model(input_ids=ids[None]).logits[0, :-1]
                    losses = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
                    total = total + losses[trained[1:]].sum()
        (total / plan[number].targets).backward()
        for group in optimizer.param_groups:
            if not learns(group["key"], number):
                group["params"][0].grad = None
        optimizer.step()
        optimizer.zero_grad()
    return weights(model)


PLAIN = {"weight_decay": 0.1, "max_grad_norm": None, "lr_scheduler_type": "constant"}


@pytest.mark.parametrize("unfreeze", [False, True], ids=["rates", "both"])
def test_hand_made_groups_give_the_same_weights(tmp_path: Path, unfreeze: bool) -> None:
    starts = {"layers.0.": 2, "embed": 4} if unfreeze else {}
    options = {**DECAY, **(BY_TWO if unfreeze else {})}
    model, same = tiny_llama().double(), tiny_llama().double()
    train(job_with(tmp_path, model, max_steps=5, **PLAIN, **options))
    start = weights(same)
    expected = by_hand(same, 5, lambda key, step: step >= starts.get(key, 0))
    for name, value in weights(model).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-5)
        assert not torch.allclose(value, start[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_layer_is_left_alone(tmp_path: Path, name: str) -> None:
    """By decay and moments too, with every optimizer; and then it learns."""
    model = tiny_llama(intermediate_size=300)
    before, seen = weights(model), []

    def look(step: int) -> None:
        now = weights_of_all(model)
        seen.append({n for n in now if not torch.equal(now[n], before[n])})

    job = job_with(tmp_path, model, max_steps=5, optim=name, weight_decay=0.5, **BY_TWO)
    train(replace(job, hooks=Hooks(after_step=look)))
    groups = [set(layer.parameters) for layer in layers_of(model)]
    assert seen == [
        groups[0],
        groups[0],
        groups[0] | groups[1],
        groups[0] | groups[1],
        groups[0] | groups[1] | groups[2],
    ]


def weights_of_all(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def test_nothing_goes_backward_below_the_lowest_live_layer(tmp_path: Path) -> None:
    model, needed = tiny_llama(), []
    model.model.layers[0].register_forward_hook(lambda m, i, o: needed.append(o.requires_grad))
    options = {"gradient_accumulation_steps": 1, "max_steps": 5}
    train(job_with(tmp_path, model, **BY_TWO, **options))
    assert needed[-5:] == [False, False, True, True, True]


def test_what_was_unfrozen_when_is_told(tmp_path: Path) -> None:
    model = tiny_llama()
    options = {**DECAY, **TRIANGLE, "unfreeze_every": Unfreezing(epochs=1)}
    outcome = train(job_with(tmp_path, model, num_train_epochs=3.0, logging_steps=1, **options))
    lines = metrics(tmp_path)
    assert [(x["step"], x["unfrozen"]) for x in lines if "unfrozen" in x] == [
        (1, ["layer 1"]),
        (7, ["layer 0"]),
        (13, ["embeddings"]),
    ]
    rates = {x["step"]: x["layer_rates"] for x in lines if "loss" in x}
    assert rates[6] == {"layer 1": pytest.approx(0.01 * paper(5, 18, 0.1, 32), abs=4e-4)}
    last = rates[18]
    assert list(last) == ["layer 1", "layer 0", "embeddings"]
    assert last["embeddings"] == pytest.approx(last["layer 1"] / 2.6**2)
    assert [each["from_step"] for each in outcome.layers] == [1, 7, 13]
    assert [each["learning_rate"] for each in outcome.layers] == pytest.approx(
        [0.01, 0.01 / 2.6, 0.01 / 2.6**2]
    )
    sizes = [each["parameters"] for each in outcome.layers]
    assert sum(sizes) == sum(p.numel() for p in model.parameters())


def test_what_ends_before_all_are_unfrozen_is_told(tmp_path: Path) -> None:
    job = job_with(tmp_path, tiny_llama(), max_steps=3, **BY_TWO)
    outcome = train(job)
    assert [each["from_step"] for each in outcome.layers] == [1, 3, None]
    assert "1 of 3 layers (embeddings) would begin only after the last of the 3 steps" in "".join(
        job.progress.warnings
    )
    assert all(p.requires_grad for p in job.model.parameters())


# Stopped and gone on, several processes, other methods.


@pytest.mark.parametrize("name", ["adamw_torch", "adamw_8bit"])
def test_it_goes_on_bit_for_bit(tmp_path: Path, name: str) -> None:
    options = {**DECAY, **TRIANGLE, **BY_TWO, "optim": name, "max_steps": 6, "logging_steps": 1}
    straight = tiny_llama(intermediate_size=300)
    train(job_with(tmp_path / "straight", straight, **options))
    for step in (1, 3):
        folder, model = tmp_path / str(step), tiny_llama(intermediate_size=300)
        with pytest.raises(Interrupted):
            train(job_with(folder, model, step, **options))
        assert all(p.requires_grad for p in model.parameters())
        kept = next((folder / "checkpoints").glob(f"step-*{step}")) / "weights.safetensors"
        with safe_open(kept, "pt") as file:
            assert set(file.keys()) == set(weights(model))
        again = tiny_llama(intermediate_size=300)
        assert train(job_with(folder, again, **options)).resumed_from == step
        assert same_weights(weights(again), weights(straight))
        assert metrics(folder) == metrics(tmp_path / "straight")


def test_two_processes_unfreeze_as_one(tmp_path: Path) -> None:
    options = {**DECAY, "optim": "adamw_torch", "weight_decay": 0.1, "num_train_epochs": 1.0}
    options["unfreeze_every"] = Unfreezing(steps=2)

    def job_of(folder: Path, processes: int, size: int) -> Any:
        model = tiny_llama().double()
        job = job_for(folder, processes, model=model, per_device_train_batch_size=size, **options)
        return replace(job, layers=layers_of(model))

    one = job_of(tmp_path / "one", 1, 4)
    train(one)

    def work(rank: int) -> None:
        job = job_of(tmp_path / "two", 2, 2)
        train(job)
        save_file(weights(job.model), tmp_path / f"{rank}.safetensors")

    in_processes(2, work)
    for rank in range(2):
        for name, value in load_file(tmp_path / f"{rank}.safetensors").items():
            torch.testing.assert_close(value, weights(one.model)[name], rtol=0, atol=1e-8)


def test_sharded_parameters_are_refused(tmp_path: Path) -> None:
    class Sharded:
        full_tensor = None

    class Engine:
        trained = {"w": Sharded()}

    with pytest.raises(RecipeError, match=r"train\.unfreeze_every .* sharded"):
        gradient.check(Engine(), make_job(tmp_path, **BY_TWO))  # type: ignore[arg-type]


def test_lora_plus_and_layers_multiply() -> None:
    config, section = lora.Config(r=2, loraplus_lr_ratio=16.0), settings(**DECAY)
    model = lora.attach(tiny_llama(), config, None)
    groups = lora.parameter_groups(model, config, section)
    assert groups is not None
    names = {id(p): n for n, p in model.named_parameters()}
    made = by_layer(model, groups, layers_of(model), section)
    rates = {names[id(p)]: group["lr"] for group in made for p in group["params"]}
    assert rates.keys() == weights(model).keys()
    for name, rate in rates.items():
        expected = (0.16 if "lora_B" in name else 0.01) / (2.6 if ".layers.0." in name else 1)
        assert rate == pytest.approx(expected)
    assert made[0]["lr"] == 0.01  # what metrics.jsonl has as the learning rate


def test_lora_goes_layer_by_layer(tmp_path: Path) -> None:
    model = lora.attach(tiny_llama(), lora.Config(r=2), None)
    before = weights(model)
    train(job_with(tmp_path, model, max_steps=2, **DECAY, unfreeze_every=Unfreezing(steps=3)))
    after = weights(model)
    moved = {n for n in after if not torch.equal(after[n], before[n])}
    assert moved == set(layers_of(model)[0].parameters)
    text = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8")
    assert json.loads(text.splitlines()[0]) == {"step": 1, "unfrozen": ["layer 1"]}
