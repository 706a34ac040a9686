"""Adapters that take turns on one base answer as each does alone, whatever the order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_adapters import base, made, make_base

from ftune.errors import ModelError
from ftune.model import adapters
from ftune.model.loading import Loaded, load_model, load_tokenizer
from ftune.model.switching import Switcher
from ftune.recipe.schema import Model

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "bottleneck": ("bottleneck", {"size": 4}),
    "lora": ("lora", {"r": 2}),
    "dora": ("lora", {"r": 3, "use_dora": True, "modules_to_save": ("norm",)}),
    "biases": ("lora", {"r": 2, "bias": "all"}),
    "pissa": ("lora", {"r": 2, "init_lora_weights": "pissa"}),
    "olora": ("lora", {"r": 2, "init_lora_weights": "olora"}),
    "ia3": ("ia3", {}),
    "vera": ("vera", {"r": 4}),
    "oft": ("oft", {"oft_block_size": 4}),
    "norms": ("layernorm", {}),
    "prompt": ("prompt_tuning", {"num_virtual_tokens": 2}),
    "prefix": ("p_tuning_v2", {"num_virtual_tokens": 2}),
    "bitfit": ("bitfit", {}),
    "freeze": ("freeze", {"last_layers": 1}),
    "head": ("head", {}),
    "full": ("full", {}),
}


def said(model: Any) -> Any:
    import torch

    ids = torch.arange(5, 25)[None]
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits
        answer = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
            max_new_tokens=6, min_new_tokens=6, pad_token_id=2,
        )  # fmt: skip
    return logits.clone(), answer


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with biases, and a folder for each of METHODS that was trained on it."""
    folder = tmp_path_factory.mktemp("switching")
    make_base(folder / "base")
    for name, (method, keys) in METHODS.items():
        made(base(folder / "base"), folder / name, method, 0.1, keys)
    return folder


def test_all_methods_in_turn(home: Path) -> None:
    import torch

    alone = {}
    for name in METHODS:
        alone[name] = said(adapters.load(base(home / "base"), home / name))
    switcher = Switcher(base(home / "base"))
    for name in METHODS:
        switcher.add(name, home / name)
    assert switcher.names == tuple(METHODS)
    names = list(METHODS)
    for name in (*names, *reversed(names), *names[::2], *names[1::2]):
        logits, answer = said(switcher.use(name))
        assert torch.equal(logits, alone[name][0]), name
        assert torch.equal(answer, alone[name][1]), name
    differing = {tuple(alone[name][0].flatten()[:50].tolist()) for name in METHODS}
    assert len(differing) == len(METHODS)


@pytest.mark.parametrize("bits", [4, 8])
def test_on_a_quantized_base(home: Path, bits: int) -> None:
    import torch

    keys = {"quantization": {f"load_in_{bits}bit": True}}
    names = ("lora", "ia3", "prompt")
    alone = {n: said(adapters.load(base(home / "base", **keys), home / n)) for n in names}
    switcher = Switcher(base(home / "base", **keys))
    for name in names:
        switcher.add(name, home / name)
        for other in switcher.names:  # also of those that were asked before this one was read
            logits, answer = said(switcher.use(other))
            assert torch.equal(logits, alone[other][0]), (name, other)
            assert torch.equal(answer, alone[other][1]), (name, other)


def test_another_base_is_refused_and_leaves_no_trace(home: Path, tmp_path: Path) -> None:
    import torch

    switcher = Switcher(base(home / "base"))
    switcher.add("lora", home / "lora")
    before = said(switcher.use("lora"))[0]
    model = Model(name_or_path="ftune:tiny", device="cpu")
    made(load_model(model, load_tokenizer(model)), tmp_path / "other", "lora", 0.1, {"r": 2})
    with pytest.raises(ModelError, match="was trained on ftune:tiny"):
        switcher.add("other", tmp_path / "other")
    with pytest.raises(ModelError, match="no such folder"):
        switcher.add("none", tmp_path / "none")
    assert switcher.names == ("lora",)
    assert torch.equal(said(switcher.use("lora"))[0], before)


def test_what_writes_into_shared_tensors_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method that did what none does: change a weight of the base that it does not name."""
    real = adapters.load

    def careless(loaded: Loaded, *rest: Any, **more: Any) -> Any:
        import torch

        with torch.no_grad():
            loaded.model.model.layers[0].mlp.up_proj.weight.mul_(2)
        return real(loaded, *rest, **more)

    monkeypatch.setattr(adapters, "load", careless)
    with pytest.raises(ModelError, match=r"base's own model\.layers\.0\.mlp\.up_proj"):
        Switcher(base(home / "base")).add("lora", home / "lora")
