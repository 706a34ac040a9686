"""Optimizers step as their definitions say, and their state survives safetensors and JSON."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_training import make_job, metrics, settings, tiny_llama

from ftune.errors import RecipeError
from ftune.run.progress import Silent
from ftune.train.flattening import flatten, unflatten
from ftune.train.loop import train
from ftune.train.optim import build_optimizer, build_schedule, parameter_groups, warmup_steps

NAMES = ["adamw_torch", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "adafactor", "sgd"]


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, line: str) -> None:
        self.lines.append(line)


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(80, 80), torch.nn.LayerNorm(80))


def stepped(optimizer, net, steps: int = 3, seed: int = 0):
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x, weight = torch.randn(2, 4, 80, generator=random)
        (net(x) * weight).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return [p.detach().clone() for p in net.parameters()]


def test_norms_and_biases_do_not_decay():
    groups = parameter_groups(tiny_llama(), 0.1)
    assert [g["weight_decay"] for g in groups] == [0.1, 0.0]
    assert all(p.ndim == 2 for p in groups[0]["params"])
    assert [tuple(p.shape) for p in groups[1]["params"]] == [(16,)] * 5  # two layers' and the last


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(
    "name", ["adamw_torch", "paged_adamw_32bit", "adamw_8bit", "paged_adamw_8bit"]
)
def test_adamw_is_adamw(name, decay):
    train_section = settings(optim=name, weight_decay=decay, adam_beta2=0.95, learning_rate=1e-3)
    ours, theirs = model(), model()
    groups = parameter_groups(theirs, decay)
    reference = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, foreach=False)
    got = stepped(build_optimizer(ours, train_section, Silent()), ours)
    bound = 4e-4 if name.endswith("8bit") else 1e-7  # eight bits hold the moments to some percent
    for one, two in zip(got, stepped(reference, theirs), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=bound)


def test_sgd_is_plain_with_decoupled_decay():
    net = torch.nn.Linear(2, 1, bias=False)
    start = net.weight.detach().clone()
    section = settings(optim="sgd", learning_rate=0.5, weight_decay=0.1)
    optimizer = build_optimizer(net, section, Silent())
    net(torch.tensor([[1.0, 2.0]])).sum().backward()
    optimizer.step()
    expected = start * (1 - 0.5 * 0.1) - 0.5 * torch.tensor([[1.0, 2.0]])
    torch.testing.assert_close(net.weight.detach(), expected)
    assert optimizer.param_groups[0]["weight_decay"] == 0.1


@pytest.mark.parametrize("name", NAMES)
def test_state_survives_a_file(tmp_path, name):
    section = settings(optim=name)
    one, other = model(), model()
    first = build_optimizer(one, section, Silent())
    stepped(first, one)
    skeleton, tensors = flatten(first.state_dict(), "optimizer")
    save_file(tensors, tmp_path / "o.safetensors")
    text = json.dumps(skeleton, allow_nan=False)
    if name == "adamw_8bit":
        assert {torch.uint8, torch.float32} == {t.dtype for t in tensors.values()}
        assert sum("qmap1" in key for key in tensors) == 1  # shared, and written once
    second = build_optimizer(other, section, Silent())
    other.load_state_dict(one.state_dict())
    second.load_state_dict(unflatten(json.loads(text), load_file(tmp_path / "o.safetensors")))
    for a, b in zip(stepped(first, one, seed=1), stepped(second, other, seed=1), strict=True):
        assert torch.equal(a, b)


def test_nothing_is_pickled():
    with pytest.raises(TypeError, match=r"x\.a\.1: set can't be written"):
        flatten({"a": [1, {2}]}, "x")
    value = {"a": {0: torch.ones(2), 7: None}, "b": [1.5, "t", (True, {})]}
    skeleton, tensors = flatten(value, "x")
    back = unflatten(json.loads(json.dumps(skeleton)), tensors)
    assert back["a"].keys() == {0, 7}
    assert back["b"] == [1.5, "t", [True, {}]]


def test_paging_on_a_cpu_is_told():
    heard = Heard()
    build_optimizer(model(), settings(optim="paged_adamw_8bit"), heard)
    assert "nothing to page" in heard.lines[0]


def test_an_optimizer_that_the_device_has_not():
    with pytest.raises(RecipeError, match=r"train\.optim: adamw_8bit does not run on meta"):
        build_optimizer(model().to("meta"), settings(optim="adamw_8bit"), Silent())


@pytest.mark.parametrize("name", NAMES)
def test_all_of_them_learn(tmp_path, name):
    net = tiny_llama(intermediate_size=300)
    train(make_job(tmp_path, net, optim=name, num_train_epochs=4.0, learning_rate=0.02))
    losses = [line["loss"] for line in metrics(tmp_path)]
    assert losses[-1] < losses[0] - 0.02


@pytest.mark.parametrize(
    "name",
    ["linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"],
)
@pytest.mark.parametrize("warmup", [{}, {"warmup_ratio": 0.3}, {"warmup_steps": 4}])
def test_every_schedule_runs_with_and_without_warmup(name, warmup):
    section = settings(lr_scheduler_type=name, learning_rate=0.5, **warmup)
    optimizer = build_optimizer(model(), section, Silent())
    schedule = build_schedule(optimizer, section, 10)
    rates = []
    for _ in range(10):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert max(rates) == pytest.approx(0.5)
    assert all(0 <= rate <= 0.5 for rate in rates)
    if warmup and name != "constant":
        assert rates[0] == 0
        assert rates.index(max(rates)) == warmup_steps(section, 10)


def test_warmup_is_counted_without_float_dust():
    assert warmup_steps(settings(warmup_ratio=0.1), 30) == 3  # 0.1 * 30 is 3.0000000000000004
    assert warmup_steps(settings(warmup_ratio=0.1), 31) == 4
    assert warmup_steps(settings(), 31) == 0
