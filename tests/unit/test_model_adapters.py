"""Adapters on disk: whole, for this base, and complete, or refused with a word on what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftune.errors import ModelError, RunError
from ftune.model import adapters, manifest
from ftune.model.loading import Loaded, load_model, load_tokenizer
from ftune.model.resolve import ASSETS
from ftune.model.tuning import lora
from ftune.recipe.schema import Model
from ftune.run.progress import Silent


def base(name: object = "ftune:tiny") -> Loaded:
    model = Model(name_or_path=str(name), device="cpu")
    return load_model(model, load_tokenizer(model))


def trained(loaded: Loaded, **keys: Any) -> Any:
    """A LoRA whose every tensor was moved."""
    import torch

    model = lora.attach(loaded.model, lora.Config(r=2, **keys), loaded.tokenizer)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    return model


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    loaded = base()
    tokenizer, identity = loaded.tokenizer, loaded.identity
    adapters.save(trained(loaded), folder, base=identity, tokenizer=tokenizer, method="lora")
    return folder


@pytest.fixture
def adapter(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "adapter"))


def by_peft(adapter: Path, change: Callable[[dict[str, Any]], object] | None = None) -> Path:
    """The adapter as if PEFT alone had written it, with its tensors changed."""
    from safetensors.torch import load_file, save_file

    (adapter / manifest.NAME).unlink()
    if change is not None:
        tensors = load_file(adapter / adapters.WEIGHTS)
        save_file(change(tensors) or tensors, adapter / adapters.WEIGHTS)
    return adapter


def test_what_is_written(adapter: Path) -> None:
    told = json.loads((adapter / manifest.NAME).read_text())
    assert told["method"] == "lora" and told["base"]["name"] == "ftune:tiny"
    assert {"adapter_config.json", adapters.WEIGHTS, "tokenizer.json"} <= set(told["files"])
    assert all(tensor["norm"] > 0 for tensor in told["tensors"].values())
    assert len(told["tensors"]) == 2 * 28
    config = json.loads((adapter / adapters.CONFIG).read_text())
    assert config["base_model_name_or_path"] == "ftune:tiny"
    assert not list(adapter.glob("*.bin")) and not list(adapter.parent.glob(".part-*"))


def test_peft_loads_what_ftune_saves(adapter: Path) -> None:
    import torch
    from peft import PeftModel

    ours = adapters.load(base(), adapter)
    theirs = PeftModel.from_pretrained(base().model, str(adapter)).eval()
    ids = torch.arange(3, 30)[None]
    with torch.no_grad():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)


def test_ftune_loads_what_peft_saves_and_says_what_it_cannot_prove(tmp_path: Path) -> None:
    import torch

    told: list[str] = []

    class Listening(Silent):
        def warn(self, line: str) -> None:
            told.append(line)

    model = trained(base(), target_modules=("q_proj",))
    model.save_pretrained(str(tmp_path / "plain"))
    again = adapters.load(base(), tmp_path / "plain", progress=Listening())
    ids = torch.arange(3, 30)[None]
    with torch.no_grad():
        assert torch.equal(model.eval()(ids).logits, again(ids).logits)
    assert len(told) == 1 and "is not proved" in told[0]


@pytest.mark.parametrize("name", [adapters.WEIGHTS, adapters.CONFIG, "tokenizer.json"])
@pytest.mark.parametrize("how", ["flip", "cut", "empty", "delete"])
def test_rot_is_found(adapter: Path, name: str, how: str) -> None:
    path = adapter / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    changed = {"flip": bytes(content), "cut": bytes(content[:-7]), "empty": b""}
    path.unlink() if how == "delete" else path.write_bytes(changed[how])
    with pytest.raises(ModelError, match=name):
        adapters.load(base(), adapter)


def test_files_that_are_not_in_the_manifest(adapter: Path) -> None:
    shutil.copy(adapter / adapters.WEIGHTS, adapter / "model.safetensors")
    with pytest.raises(ModelError, match=r"is not in ftune\.json"):
        adapters.load(base(), adapter)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"version": 9}', '{"version": 1, "files": {"../x": {}}, "base": {}}']
)
def test_a_manifest_that_is_damaged(adapter: Path, text: str) -> None:
    (adapter / manifest.NAME).write_text(text)
    with pytest.raises(ModelError, match=r"ftune\.json|\.\./x"):
        adapters.load(base(), adapter)


def test_another_base_of_the_same_shape_is_refused(adapter: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = Path(shutil.copytree(ASSETS / "tiny", tmp_path / "other"))
    tensors = load_file(other / "model.safetensors")
    tensors = {name: tensor * 1.01 for name, tensor in tensors.items()}
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError) as caught:
        adapters.load(base(other), adapter)
    assert "ftune:tiny" in str(caught.value) and str(other) in str(caught.value)
    copy = shutil.copytree(ASSETS / "tiny", tmp_path / "copy")
    adapters.load(base(copy), adapter)  # the same base elsewhere is the same base


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (
            lambda t: {k.replace("base_model.", "_orig_mod.base_model."): v for k, v in t.items()},
            "missing",
        ),
        (lambda t: dict(list(t.items())[1:]), "missing in it"),
        (lambda t: {**t, "more": next(iter(t.values())).clone()}, "more .in it, but not"),
        (lambda t: {k: v[..., :-1].contiguous() for k, v in t.items()}, "of another shape"),
        (lambda t: {k: v * float("nan") for k, v in t.items()}, "NaN"),
        (lambda t: {k: v * (0 if "lora_B" in k else 1) for k, v in t.items()}, "only zeros"),
        (lambda t: {k: v * 0 for k, v in t.items()}, "only zeros"),
        (lambda t: {"x": next(iter(t.values())).clone()}, "missing"),
    ],
)
def test_tensors_that_do_not_fit(
    adapter: Path, change: Callable[[dict[str, Any]], Any], word: str
) -> None:
    with pytest.raises(ModelError, match=word):
        adapters.load(base(), by_peft(adapter, change))


def test_a_file_of_forty_bytes(adapter: Path) -> None:
    by_peft(adapter)
    (adapter / adapters.WEIGHTS).write_bytes((32).to_bytes(8, "little") + b"{}".ljust(32))
    with pytest.raises(ModelError, match="missing in it"):
        adapters.load(base(), adapter)


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"peft_type": "NOTHING"}, "NOTHING"),
        ({"task_type": "SEQ_CLS"}, "SEQ_CLS"),
        ({"init_lora_weights": "corda"}, "init_lora_weights"),
        ({"megatron_config": {"a": 1}}, "megatron_config"),
        ({"target_modules": ["nothing"]}, "does not fit this base"),
        ({"r": 3}, "of another shape"),
    ],
)
def test_a_config_that_asks_for_something_else(
    adapter: Path, keys: dict[str, Any], word: str
) -> None:
    by_peft(adapter)
    config = json.loads((adapter / adapters.CONFIG).read_text())
    (adapter / adapters.CONFIG).write_text(json.dumps({**config, **keys}))
    with pytest.raises(ModelError, match=word):
        adapters.load(base(), adapter)


def test_pickled_and_missing_weights(adapter: Path, tmp_path: Path) -> None:
    by_peft(adapter)
    (adapter / adapters.WEIGHTS).rename(adapter / "adapter_model.bin")
    with pytest.raises(ModelError, match="pickled"):
        adapters.load(base(), adapter)
    (adapter / "adapter_model.bin").unlink()
    with pytest.raises(ModelError, match="is missing"):
        adapters.load(base(), adapter)
    (adapter / adapters.CONFIG).unlink()
    with pytest.raises(ModelError, match="is it an adapter's folder"):
        adapters.load(base(), adapter)
    with pytest.raises(ModelError, match="no such folder"):
        adapters.load(base(), tmp_path / "nowhere")


def test_saving_replaces_whole_or_not_at_all(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = base()
    model = trained(loaded)
    before = {p.name: p.read_bytes() for p in adapter.iterdir()}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    keys: dict[str, Any] = {
        "base": loaded.identity, "tokenizer": loaded.tokenizer, "method": "lora"
    }  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "write", fail)
        with pytest.raises(RunError, match="No space left"):
            adapters.save(model, adapter, **keys)
    assert {p.name: p.read_bytes() for p in adapter.iterdir()} == before
    assert [p.name for p in adapter.parent.iterdir()] == ["adapter"]
    adapters.save(model, adapter, **keys)
    assert [p.name for p in adapter.parent.iterdir()] == ["adapter"]
    next(p for p in model.parameters() if p.requires_grad).data[0] = float("nan")
    with pytest.raises(ModelError, match="NaN"):
        adapters.save(model, adapter, **keys)
    adapters.load(base(), adapter)


def test_a_full_disk_is_told_in_bytes_and_leaves_what_was(adapter: Path) -> None:
    import resource

    loaded = base()
    model = trained(loaded, lora_alpha=1)
    before = {p.name: p.read_bytes() for p in adapter.iterdir()}
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    try:
        with pytest.raises(RunError, match="MB are free"):
            adapters.save(
                model, adapter, base=loaded.identity, tokenizer=loaded.tokenizer, method="lora"
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert {p.name: p.read_bytes() for p in adapter.iterdir()} == before
    assert [p.name for p in adapter.parent.iterdir()] == ["adapter"]


def test_a_state_that_does_not_fit() -> None:
    model = trained(base())
    state = adapters.state(model)
    name, tensor = next(iter(state.items()))
    for wrong in (
        {k: v for k, v in state.items() if k != name},
        {**state, "more": tensor},
        {**state, name: tensor[:1]},
        {**state, name: tensor.bfloat16()},
    ):
        with pytest.raises(RunError, match="does not fit"):
            adapters.load_state(model, wrong)
