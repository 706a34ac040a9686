"""Blocks that are made again give the same bits, and keep as little as the bound says."""

from __future__ import annotations

import peft
import pytest
import torch
from tiny_training import tiny_llama, tiny_lora

from ftune.fast import recompute, trials
from ftune.fast.quick import quick

NOTHING, ALL = 0, 10**12


def taken(model, monkeypatch, kept):
    """Loss, gradients, random state, how often blocks ran, and bytes kept for the backward pass."""
    monkeypatch.setattr(recompute, "KEPT_BYTES", kept)
    ids = torch.arange(48).view(2, 24) % 40
    runs, held = [], {}
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(tensor):
        if (at := tensor.untyped_storage().data_ptr()) not in known:
            held[at] = tensor
        return tensor

    norms = [m for n, m in model.named_modules() if n.endswith("post_attention_layernorm")]
    torch.manual_seed(3)
    model.train()
    with quick(model):
        handles = [n.register_forward_pre_hook(lambda *_: runs.append(1)) for n in norms]
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        size = sum(t.untyped_storage().nbytes() for t in held.values())
        trained = [p for p in model.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(loss, trained)
        for handle in handles:
            handle.remove()
    return [loss.detach(), *gradients, torch.get_rng_state()], len(runs), size


def full():
    return tiny_llama().requires_grad_(True)


@pytest.mark.parametrize("make", [tiny_lora, full], ids=["lora with dropout", "full"])
def test_not_one_bit_changes(monkeypatch, make):
    plain, once, much = taken(make(), monkeypatch, ALL)
    again, twice, little = taken(make(), monkeypatch, NOTHING)
    assert (once, twice) == (2, 4)
    assert little < much / 2
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))


def test_as_many_blocks_as_the_bound_asks_for(monkeypatch):
    model = tiny_lora()
    with quick(model):
        one_block = trials.bytes_kept(model) / 2 * 48
    _, runs, _ = taken(model, monkeypatch, int(1.2 * one_block))
    assert runs == 3


def test_without_a_gradient_nothing_runs_twice(monkeypatch):
    monkeypatch.setattr(recompute, "KEPT_BYTES", NOTHING)
    monkeypatch.setattr(recompute, "checkpoint", None)  # would fail if it were called
    model = tiny_lora().train()
    with quick(model) as paths, torch.no_grad():
        assert paths.modules["recompute"] == 2
        model(input_ids=torch.arange(8)[None], use_cache=False)


def test_virtual_tokens_in_the_cache_are_left_alone(monkeypatch):
    monkeypatch.setattr(recompute, "KEPT_BYTES", NOTHING)
    monkeypatch.setattr(recompute, "checkpoint", None)
    config = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    model = peft.get_peft_model(tiny_llama(), config).train()
    with quick(model):
        ids = torch.arange(8)[None]
        model(input_ids=ids, labels=ids).loss.backward()
    assert any(p.grad is not None for p in model.parameters())
