"""``ftune inspect`` on runs of real models."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import transformers

pytestmark = pytest.mark.golden


def test_a_soft_prompt_is_read_by_its_nearest_tokens(trained, warm, home, shared):
    folder = trained("prompt-tuning").folder
    told = warm.run(home, "inspect", folder, "--top-k", "2", "--json").json
    file = safetensors.torch.load_file(folder / "train/adapter/adapter_model.safetensors")
    vectors = file["prompt_embeddings"]
    model = transformers.AutoModelForCausalLM.from_pretrained(shared / "models/TinyStories-656K")
    table = model.get_input_embeddings().weight.detach()
    assert told["kind"] == "prompt" and len(told["places"]) == len(vectors)
    for place, vector in zip(told["places"], vectors, strict=True):
        nearest = (table - vector).norm(dim=1).topk(2, largest=False)
        assert [one["id"] for one in place["euclidean"]] == nearest.indices.tolist()
        assert [n["measure"] for n in place["euclidean"]] == pytest.approx(
            nearest.values.tolist(), rel=1e-4
        )
    said = warm.run(home, "inspect", folder).out
    assert "times so far from any token" in said


def test_lora_moves_each_weight_by_its_product(trained, warm, home, shared):
    folder = trained("lora").folder
    told = warm.run(home, "inspect", folder, "--json").json
    file = safetensors.torch.load_file(folder / "train/adapter/adapter_model.safetensors")
    model = transformers.AutoModelForCausalLM.from_pretrained(shared / "models/TinyStories-656K")
    own = dict(model.named_parameters())
    asked = json.loads((folder / "train/adapter/adapter_config.json").read_text())
    scale = asked["lora_alpha"] / asked["r"]
    for one in told["modules"]:
        assert one["change"] == pytest.approx(scale * products(file, one["name"]), rel=1e-3)
        assert one["weight"] == pytest.approx(float(own[one["name"]].detach().norm()), rel=1e-5)
    assert 2 * len(told["modules"]) == len(file)
    assert "of its size" in warm.run(home, "inspect", folder).out


def products(file, name):
    """The norm of B A for a weight."""
    stem = f"base_model.model.{name.removesuffix('.weight')}"
    return float((file[f"{stem}.lora_B.weight"] @ file[f"{stem}.lora_A.weight"]).norm())


def test_wrong_asks_are_answered(trained, warm, home):
    done = warm.run(home, "inspect", trained("lora").folder, "--top-k", "0", code=2)
    assert "--top-k: 0 names no token" in done.err
