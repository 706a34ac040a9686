"""A batch that would keep too much goes through the model in parts, and trains the same."""

from __future__ import annotations

import pytest
import torch
from tiny_training import make_job, metrics, some_rows, tiny_llama, tiny_lora, weights

from ftune.fast import recompute, trials
from ftune.fast.quick import paths_of, quick
from ftune.train.loop import train

BATCH = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "logging_steps": 1}


def trained(folder, monkeypatch, tokens: int | None, **options):
    """Its metrics and weights, and the shapes of the batches that went through the model."""
    model = tiny_lora(dropout=0.0)
    if tokens is not None:
        with quick(model):
            size = trials.bytes_kept(model)
        monkeypatch.setattr(recompute, "KEPT_BYTES", (tokens + 0.5) * size)
    folder.mkdir()
    job = make_job(folder, model, some_rows(), **{**BATCH, **options})
    seen = []

    def see(_, args, given):
        if model.training:
            seen.append(tuple(given["input_ids"].shape))

    handle = model.register_forward_pre_hook(see, with_kwargs=True)
    train(job)
    handle.remove()
    return metrics(folder), weights(model), seen


@pytest.mark.parametrize("tokens", [64, 20, 1])
def test_parts_train_as_the_whole(tmp_path, monkeypatch, tokens):
    lines, whole, shapes = trained(tmp_path / "whole", monkeypatch, None)
    told, parts, smaller = trained(tmp_path / "parts", monkeypatch, tokens)
    assert len(shapes) == 3 and len(smaller) > 3
    assert sum(rows for rows, _ in smaller) == sum(rows for rows, _ in shapes) == 23
    for rows, length in smaller:
        assert rows * length <= tokens or rows == 1
    for name, expected in whole.items():
        torch.testing.assert_close(parts[name], expected, rtol=1e-4, atol=1e-5)
    assert len(told) == len(lines)
    for line, expected in zip(told, lines, strict=True):
        assert line == pytest.approx(expected, rel=1e-4)


def test_with_checkpointed_layers_it_keeps_little_as_it_is(tmp_path, monkeypatch):
    _, _, shapes = trained(tmp_path / "run", monkeypatch, 1, gradient_checkpointing=True)
    assert len(shapes) == 3


def test_so_many_tokens_as_the_bound_says():
    with quick(tiny_llama()) as paths:
        assert paths.most_tokens > 10_000
        assert paths_of(tiny_llama()).most_tokens == 0  # without fast paths any


def test_plainly_nothing_is_parted(tmp_path, monkeypatch):
    monkeypatch.setenv("FTUNE_PLAIN", "1")
    _, _, shapes = trained(tmp_path / "run", monkeypatch, 1)
    assert len(shapes) == 3
