"""Merged models: plain transformers reads them, and they say the same as base and adapter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ftune import registry
from ftune.errors import ModelError
from ftune.model import adapters, merging
from ftune.model.loading import load_model, load_tokenizer
from ftune.model.resolve import ASSETS
from ftune.recipe.schema import Model


def section(**keys: object) -> Model:
    return Model.model_validate({"name_or_path": "ftune:tiny", "device": "cpu", **keys})


def made(folder: Path, model: Model, method: str, spread: float = 0.02, **keys: Any) -> Any:
    """An adapter whose tensors were moved, saved to ``folder``; the tuned model."""
    import torch

    loaded = load_model(model, load_tokenizer(model))
    extension = registry.METHODS.load(method)
    tuned = extension.attach(loaded.model, extension.Config(**keys), loaded.tokenizer)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
    adapters.save(tuned, folder, base=loaded.identity, tokenizer=loaded.tokenizer, method=method)
    return tuned.eval()


CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("lora", {}, {}),
    ("lora", {"use_dora": True}, {}),
    ("lora", {"init_lora_weights": "pissa"}, {}),
    ("lora", {"modules_to_save": ("norm",), "bias": "all"}, {}),
    ("lora", {}, {"add_tokens": ("<|new|>",)}),
    ("qlora", {}, {"quantization": {"load_in_4bit": True}}),
]


@pytest.mark.parametrize(("method", "keys", "model_keys"), CASES, ids=str)
def test_plain_transformers_gives_equal_logits(
    tmp_path: Path, method: str, keys: dict[str, Any], model_keys: dict[str, Any]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = section(**model_keys)
    tuned = made(tmp_path / "adapter", model, method, **keys)
    if method == "qlora":
        whole = section()
        tuned = adapters.load(load_model(whole, load_tokenizer(whole)), tmp_path / "adapter")
    ids = torch.arange(3, 60)[None]
    (tmp_path / "out").mkdir()  # an empty folder may be there
    proof = merging.merge(
        model, tmp_path / "adapter", tmp_path / "out", rows=ids.tolist(), dtype="float32"
    )
    assert proof.holds and proof.largest < 1e-5 and proof.equal_greedy == 1.0
    assert proof.positions == ids.shape[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter", "out"]
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, tuned(ids).logits, rtol=0, atol=5e-5)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.chat_template == load_tokenizer(model).chat_template
    assert len(tokenizer) == len(load_tokenizer(model))
    assert (tmp_path / "out" / "generation_config.json").exists()


@pytest.fixture
def untied(tmp_path: Path) -> Model:
    """The shipped model with a head of its own."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(ASSETS / "tiny", tmp_path / "untied"))
    tensors = load_file(folder / "model.safetensors")
    head = tensors["model.embed_tokens.weight"]
    tensors["lm_head.weight"] = head + torch.randn_like(head) * 0.01
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    return section(name_or_path=str(folder), add_tokens=("<|new|>",))


@pytest.mark.parametrize("keys", [{}, {"modules_to_save": ("embed_tokens", "lm_head")}], ids=str)
def test_added_tokens_of_an_untied_model(
    tmp_path: Path, untied: Model, keys: dict[str, Any]
) -> None:
    import torch

    tuned = made(tmp_path / "adapter", untied, "lora", **keys)
    trained = [n for n, p in tuned.named_parameters() if p.requires_grad and "lora" not in n]
    assert len(trained) == 2 and {"embed", "head"} == {
        "embed" if "embed_tokens" in name else "head" for name in trained
    }
    again = adapters.load(load_model(untied, load_tokenizer(untied)), tmp_path / "adapter")
    ids = torch.tensor([[3, 4, 2048, 5, 6]])
    with torch.no_grad():
        assert torch.equal(again(ids).logits, tuned(ids).logits)
        assert bool((tuned(ids).logits[..., 2048] != 0).all())
    assert merging.merge(untied, tmp_path / "adapter", tmp_path / "out", dtype="float32").holds


def test_narrow_weights_and_the_bases_own(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    made(tmp_path / "adapter", section(), "lora")
    proof = merging.merge(section(), tmp_path / "adapter", tmp_path / "out")
    assert proof.dtype == "bfloat16"  # as the shipped model is stored
    assert 0 < proof.largest <= proof.bound
    dtypes = {str(t.dtype) for t in load_file(tmp_path / "out" / "model.safetensors").values()}
    assert dtypes == {"torch.bfloat16"}


def test_what_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "adapter", section(), "lora")
    real = merging._merged

    def spoiled(tuned: Any, adapter: Path) -> Any:
        import torch

        merged = real(tuned, adapter)
        with torch.no_grad():
            merged.model.layers[1].mlp.up_proj.weight[3] += 0.01
        return merged

    monkeypatch.setattr(merging, "_merged", spoiled)
    with pytest.raises(ModelError, match="nothing was kept"):
        merging.merge(section(), tmp_path / "adapter", tmp_path / "out", dtype="float32")
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


def test_numbers_that_overflow_are_refused(tmp_path: Path) -> None:
    made(tmp_path / "adapter", section(), "lora", spread=1e25)
    with pytest.raises(ModelError):
        merging.merge(section(), tmp_path / "adapter", tmp_path / "out", dtype="float32")
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


def test_what_cannot_be_merged(tmp_path: Path) -> None:
    made(tmp_path / "prompt", section(), "prompt_tuning")
    with pytest.raises(ModelError, match="soft prompt"):
        merging.merge(section(), tmp_path / "prompt", tmp_path / "out")
    made(tmp_path / "full", section(), "full")
    with pytest.raises(ModelError, match="whole model already"):
        merging.merge(section(), tmp_path / "full", tmp_path / "out")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    with pytest.raises(ModelError, match="holds something already"):
        merging.merge(section(), tmp_path / "full", tmp_path / "taken")
    with pytest.raises(ModelError, match="no such folder"):
        merging.merge(section(), tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ModelError, match="is it an adapter"):
        merging.merge(section(), tmp_path / "taken", tmp_path / "out")
    assert not (tmp_path / "out").exists()
