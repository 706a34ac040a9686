"""LoRA that begins with what quantization took away."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from ftune.errors import ModelError
from ftune.model import loftq
from ftune.model.loading import load_model, load_tokenizer
from ftune.recipe.schema import Model, Quantization
from ftune.registry import METHODS

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from small_runs import make_model

FOUR = Quantization(load_in_4bit=True)


def attached(folder: Path, start: object, quantization: Quantization | None = FOUR):
    section = Model(name_or_path=str(folder), device="cpu", quantization=quantization)
    tokenizer = load_tokenizer(section)
    base = load_model(section, tokenizer).model
    method = METHODS.load("lora")
    torch.manual_seed(0)
    config = method.Config(r=8, lora_alpha=32, init_lora_weights=start)
    return method.attach(base, config, tokenizer)


def test_it_is_nearer_to_the_full_weights(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    section = Model(name_or_path=str(folder), device="cpu")
    full = dict(load_model(section, load_tokenizer(section)).model.named_modules())
    seen = 0
    for name, module in attached(folder, "loftq").get_base_model().named_modules():
        if not hasattr(module, "lora_A"):
            continue
        wanted, held = full[name].weight, loftq.dequantized(module.base_layer.weight).float()
        u, s, v = torch.linalg.svd(wanted.detach() - held, full_matrices=False)
        best = (u[:, :8] * s[:8]) @ v[:8]
        assert torch.allclose(module.get_delta_weight("default"), best, atol=1e-5)
        assert float((wanted - held - best).norm()) < 0.9 * float((wanted - held).norm())
        seen += 1
    assert seen == 7


def test_it_needs_4_bits(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    for quantization in (None, Quantization(load_in_8bit=True)):
        with pytest.raises(ModelError, match="loftq makes up for what 4 bits take"):
            attached(folder, "loftq", quantization)


def test_it_comes_back_and_is_not_merged(tmp_path: Path) -> None:
    from ftune.model import adapters
    from ftune.model.comparing import logits
    from ftune.model.merging import why_not

    folder = make_model(tmp_path / "m")
    section = Model(name_or_path=str(folder), device="cpu", quantization=FOUR)
    tokenizer = load_tokenizer(section)
    tuned = attached(folder, "loftq").eval()
    wanted = logits(tuned, [5, 6, 7])
    base = load_model(section, tokenizer)
    adapters.save(tuned, tmp_path / "a", base=base.identity, tokenizer=tokenizer, method="lora")
    assert torch.equal(logits(adapters.load(base, tmp_path / "a"), [5, 6, 7]), wanted)
    assert "makes up for a base in 4 bits" in why_not(tmp_path / "a")
