"""Several LoRA adapters as one: the sum is that of their deltas, computed here by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_adapters import base, made, make_base

from ftune.errors import ModelError
from ftune.model.combining import Combined, How, merge_several
from ftune.model.merging import Proof
from ftune.recipe.schema import Model

ADAPTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "first": ("lora", {"r": 4, "lora_alpha": 6, "target_modules": ("q_proj", "up_proj")}),
    "second": ("lora", {"r": 4, "lora_alpha": 8, "target_modules": ("q_proj", "down_proj")}),
    "third": (
        "lora",
        {"r": 3, "lora_alpha": 5, "use_rslora": True, "rank_pattern": {"q_proj": 2}},
    ),
    "dora": ("lora", {"r": 4, "use_dora": True}),
    "biases": ("lora", {"r": 4, "bias": "all"}),
    "pissa": ("lora", {"r": 4, "init_lora_weights": "pissa"}),
    "modules": ("lora", {"r": 4, "modules_to_save": ("norm",)}),
    "ia3": ("ia3", {}),
    "prompt": ("prompt_tuning", {"num_virtual_tokens": 2}),
    "freeze": ("freeze", {"last_layers": 1}),
    "full": ("full", {}),
}
ROW = ([5, 6, 7, 8, 9, 10], [False, False, True, True, True, True])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("combining")
    make_base(folder / "base")
    for seed, (name, (method, keys)) in enumerate(ADAPTERS.items()):
        made(base(folder / "base"), folder / name, method, 0.2, keys, seed)
    return folder


def merged(home: Path, out: Path, names: tuple[str, ...], how: How) -> tuple[Proof, Combined]:
    model = Model(name_or_path=str(home / "base"), device="cpu")
    folders = {name: home / name for name in names}
    rows = {name: [ROW, ROW] for name in names}
    return merge_several(model, folders, out, how, rows=rows, dtype="float32")


def tensors(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {name: t.double() for name, t in load_file(path).items()}


def delta(folder: Path, weight: str) -> Any:
    """What a LoRA adapter adds to a weight, from its files alone; 0 where it adds nothing."""
    found = tensors(folder / "adapter_model.safetensors")
    name = f"base_model.model.{weight.removesuffix('.weight')}"
    if f"{name}.lora_A.weight" not in found:
        return 0.0
    first, second = found[f"{name}.lora_A.weight"], found[f"{name}.lora_B.weight"]
    config = json.loads((folder / "adapter_config.json").read_text())
    rank = first.shape[0]
    return second @ first * config["lora_alpha"] / (rank**0.5 if config["use_rslora"] else rank)


@pytest.mark.parametrize("names", [("first", "second", "third"), ("third", "first")], ids=len)
def test_the_sum_is_that_of_the_deltas(home: Path, tmp_path: Path, names: tuple[str, ...]) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    weights = (0.5, -0.25, 2.0)[: len(names)]
    proof, told = merged(home, tmp_path / "out", names, How("sum", weights))
    assert proof.holds and proof.equal_greedy == 1.0 and told.from_sum < 1e-12
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    plain = tensors(home / "base/model.safetensors")
    found = tensors(tmp_path / "out/model.safetensors")
    assert set(found) == set(plain)
    changed = 0
    for name, weight in plain.items():
        change = sum(w * delta(home / n, name) for n, w in zip(names, weights, strict=True))
        changed += torch.is_tensor(change)
        torch.testing.assert_close(found[name], weight + change, rtol=1e-6, atol=1e-6)
    assert changed == 14


def test_each_way_is_pefts(home: Path, tmp_path: Path) -> None:
    """The merged weights are those of PEFT's own call, and DARE's draws come from the seed."""
    import torch
    from peft import PeftModel

    seen = {}
    for name, density, seed in (
        ("linear", None, 0), ("ties", 0.5, 0), ("dare_linear", 0.5, 3), ("dare_ties", 0.5, 3),
    ):  # fmt: skip
        how = How(name, (0.75, 0.5), density, seed)
        _, told = merged(home, tmp_path / name, ("first", "second"), how)
        assert told.from_sum > 0.05
        model = PeftModel.from_pretrained(base(home / "base").model.double(), str(home / "first"))
        model.load_adapter(str(home / "second"), "second")
        model.double()
        torch.manual_seed(seed)
        pair = ["default", "second"], [0.75, 0.5]
        model.add_weighted_adapter(*pair, "both", combination_type=name, density=density)
        model.double().set_adapter("both")
        wanted = model.merge_and_unload().model.layers[1].mlp.down_proj.weight
        key = "model.layers.1.mlp.down_proj.weight"
        found = tensors(tmp_path / name / "model.safetensors")[key]
        torch.testing.assert_close(found, wanted.detach(), rtol=1e-6, atol=1e-6)
        seen[name] = found
    merged(home, tmp_path / "other", ("first", "second"), How("dare_ties", (0.75, 0.5), 0.5, 4))
    other = tensors(tmp_path / "other/model.safetensors")[key]
    assert not torch.equal(other, seen["dare_ties"])


def test_losses_of_each_task(home: Path, tmp_path: Path) -> None:
    """An adapter of nearly all the weight says what it says alone."""
    how = How("sum", (1.0, 1e-12))
    _, told = merged(home, tmp_path / "out", ("first", "second"), how)
    first, second = told.tasks
    assert (first.adapter, first.tokens) == ("first", 8)
    assert first.combined == pytest.approx(first.alone, rel=1e-9)
    assert first.base == second.base != pytest.approx(first.alone, rel=1e-3)
    assert second.alone != pytest.approx(first.alone, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dora", "DoRA scales base and adapter together"),
        ("biases", "trained biases"),
        ("pissa", "pissa took parts of the base's weights"),
        ("modules", "trained whole modules"),
        ("ia3", "of the kind ia3"),
        ("prompt", "a soft prompt can't be merged"),
        ("freeze", "no LoRA matrices"),
        ("full", "whole model already"),
        ("nowhere", "is it an adapter's folder"),
    ],
)
def test_what_cannot_be_combined(home: Path, tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        merged(home, tmp_path / "out", ("first", name), How("sum", (0.5, 0.5)))
    assert not (tmp_path / "out").exists()


def test_other_ranks_and_another_base(home: Path, tmp_path: Path) -> None:
    how = How("linear", (0.5, 0.5))
    with pytest.raises(ModelError, match=r"need the same rank .*take --how sum"):
        merged(home, tmp_path / "out", ("first", "third"), how)
    model = Model(name_or_path="ftune:tiny", device="cpu")
    folders = {"first": home / "first", "second": home / "second"}
    with pytest.raises(ModelError, match="was trained on"):
        merge_several(model, folders, tmp_path / "out", how, rows={})
    assert not (tmp_path / "out").exists()
