"""Methods that train some of the model's own weights: which, what is saved, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ftune.errors import ModelError
from ftune.model import adapters, deltas, merging
from ftune.model.loading import Loaded, load_model, load_tokenizer
from ftune.model.tuning import (
    adalora,
    bitfit,
    boft,
    freeze,
    head,
    ia3,
    layernorm,
    lora,
    oft,
    vera,
)
from ftune.recipe.schema import Model, Quantization

TINY = "ftune:tiny"


def base(**keys: Any) -> Loaded:
    section = Model(name_or_path=TINY, device="cpu", **keys)
    return load_model(section, load_tokenizer(section))


def trained(model: Any) -> set[str]:
    return {n for n, p in model.named_parameters() if p.requires_grad}


def attach(extension: Any, loaded: Loaded, **keys: Any) -> Any:
    return extension.attach(loaded.model, extension.Config(**keys), loaded.tokenizer)


def move(model: Any) -> None:
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p += 0.1


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(3, 15)[None]).logits


@pytest.mark.parametrize(
    ("keys", "numbers"),
    [
        ({}, {-1}),
        ({"last_layers": 2}, {-1, -2}),
        ({"last_layers": 0, "layers": (0,)}, {0}),
        ({"last_layers": 1, "layers": (0, -1)}, {0, -1}),
    ],
    ids=str,
)
def test_freeze_trains_these_layers(keys: dict[str, Any], numbers: set[int]) -> None:
    loaded = base()
    count = loaded.model.config.num_hidden_layers
    chosen = {f"model.layers.{n % count}." for n in numbers}
    wanted = {n for n, _ in loaded.model.named_parameters() if n.startswith(tuple(chosen))}
    assert trained(attach(freeze, loaded, **keys)) == wanted


def test_freeze_by_pattern() -> None:
    model = attach(freeze, base(), last_layers=0, pattern=r".*layers\.[01]\..*norm.*")
    assert {n.split(".")[2] for n in trained(model)} == {"0", "1"}
    assert all("norm" in name for name in trained(model))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"last_layers": 99}, "tune.last_layers: 99 names no layer: LlamaForCausalLM has"),
        ({"layers": (99,)}, "tune.layers: 99 names no layer"),
        ({"pattern": "nothing"}, "matches no parameter of LlamaForCausalLM; there are: .*q_proj"),
        ({"pattern": "("}, "is not a regular expression"),
        ({"last_layers": 0}, "freeze names nothing to train"),
    ],
    ids=str,
)
def test_freeze_says_what_is_wrong(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        attach(freeze, base(), **keys)


def test_the_head_gets_weights_of_its_own(tmp_path: Path) -> None:
    loaded = base()
    before = logits(loaded.model)
    embedding = loaded.model.get_input_embeddings().weight.clone()
    assert loaded.model.get_output_embeddings().weight is loaded.model.get_input_embeddings().weight
    model = attach(head, loaded)
    assert trained(model) == {"lm_head.weight"}
    assert torch.equal(logits(model), before)
    move(model)
    after = logits(model)
    assert torch.equal(model.get_input_embeddings().weight, embedding)
    save(model, loaded, tmp_path / "delta", "head")
    section = Model(name_or_path=TINY, device="cpu")
    merging.merge(section, tmp_path / "delta", tmp_path / "merged", dtype="float32")
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    torch.testing.assert_close(logits(plain), after, rtol=1e-5, atol=1e-4)


def save(model: Any, loaded: Loaded, folder: Path, method: str) -> None:
    identity = loaded.identity
    adapters.save(model, folder, base=identity, tokenizer=loaded.tokenizer, method=method)


def test_only_the_trained_weights_are_saved(tmp_path: Path) -> None:
    loaded = base()
    model = attach(freeze, loaded)
    move(model)
    save(model, loaded, tmp_path / "delta", "freeze")
    tensors = load_file(tmp_path / "delta" / deltas.WEIGHTS)
    assert tensors.keys() == trained(model)
    assert not (tmp_path / "delta" / "config.json").exists()
    told = json.loads((tmp_path / "delta" / deltas.CONFIG).read_text())
    assert told["method"] == "freeze"


def damage(tensors: dict[str, Any], how: str) -> dict[str, Any]:
    name = min(tensors)
    if how == "renamed":
        tensors["other.weight"] = tensors.pop(name)
    elif how == "cut":
        tensors[name] = tensors[name][:1].clone()
    elif how == "nan":
        tensors[name].view(-1)[0] = torch.nan
    elif how == "base":
        plain = dict(base().model.named_parameters())
        tensors = {n: plain[n].detach().clone() for n in tensors}
    return {} if how == "empty" else tensors


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("renamed", "other.weight .not in the model"),
        ("cut", "of another shape"),
        ("nan", "NaN"),
        ("base", "the base's own weights"),
        ("empty", "it is empty"),
    ],
)
def test_a_delta_that_does_not_fit_is_refused(how: str, said: str, tmp_path: Path) -> None:
    loaded, folder = base(), tmp_path / "delta"
    model = attach(freeze, loaded)
    move(model)
    save(model, loaded, folder, "freeze")
    save_file(damage(load_file(folder / deltas.WEIGHTS), how), folder / deltas.WEIGHTS)
    with pytest.raises(ModelError, match=r"sha256|bytes"):  # the manifest sees it first
        adapters.load(base(), folder)
    (folder / "ftune.json").unlink()
    with pytest.raises(ModelError, match=said):
        adapters.load(base(), folder)


FOUR = {"quantization": Quantization(load_in_4bit=True)}


@pytest.mark.parametrize(
    ("extension", "keys", "model_keys", "said"),
    [
        (bitfit, {}, {}, "LlamaForCausalLM has none here .*layernorm or ia3"),
        (freeze, {}, FOUR, "is quantized and can't be changed by a step"),
        (ia3, {}, {"add_tokens": ("<|new|>",)}, "model.add_tokens: ia3 leaves all embeddings"),
        (freeze, {}, {"add_tokens": ("<|new|>",)}, "model.add_tokens: freeze without"),
        (ia3, {"target_modules": ("nope",)}, {}, "nope matches no module.*there are: .*q_proj"),
        (vera, {"target_modules": ("nope",)}, {}, "nope matches no module.*q_proj"),
        (layernorm, {"target_modules": ("nope",)}, {}, "nope matches no module"),
        (adalora, {"target_modules": ("nope",)}, {}, "nope matches no module"),
        (lora, {"rank_pattern": {"nope": 3}}, {}, "tune.rank_pattern: .*nope.* matches no module"),
        (lora, {"alpha_pattern": {"(": 3}}, {}, "tune.alpha_pattern: .*not a regular expression"),
        (ia3, {"target_modules": ("q_proj",), "feedforward_modules": ("up_proj",)}, {},
         "name only layers of target_modules"),
        (oft, {"oft_block_size": 7}, {}, "7 does not divide the layers' widths"),
        (boft, {"boft_block_size": 7}, {}, "tune.boft_block_size: 7 does not divide"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_what_can_not_be_is_refused_with_the_reason(
    extension: Any, keys: dict[str, Any], model_keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        attach(extension, base(**model_keys), **keys)


def test_rank_and_alpha_patterns_reach_their_layers() -> None:
    model = attach(
        lora, base(), r=4, lora_alpha=8, rank_pattern={"q_proj": 2, r"layers\.0\..*up_proj": 6},
        alpha_pattern={"q_proj": 10},
    )  # fmt: skip
    found = {
        n: (m.r["default"], m.scaling["default"])
        for n, m in model.named_modules()
        if hasattr(m, "lora_A")
    }
    for name, (rank, scaling) in found.items():
        first = "layers.0." in name and "up_proj" in name
        wanted = (2, 5.0) if "q_proj" in name else (6, 8 / 6) if first else (4, 2.0)
        assert (rank, scaling) == wanted, name


def test_the_last_layer_of_an_encoder_decoder_is_its_decoders() -> None:
    """Its blocks, not the parts of one of them, which is the longest list of a small T5."""
    from transformers import T5Config, T5ForConditionalGeneration

    from ftune.model import selecting

    shape = {"vocab_size": 16, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(**shape, num_layers=2))

    def starts(last: int, numbers: tuple[int, ...]) -> set[str]:
        return {".".join(n.split(".")[:3]) for n in selecting.of_layers(model, last, numbers)}

    assert starts(1, ()) == {"decoder.block.1"}
    assert starts(0, (0, 2, -1)) == {"encoder.block.0", "decoder.block.0", "decoder.block.1"}
    with pytest.raises(ModelError, match=r"4 names no layer: .* has 4 here, 0 to 3"):
        selecting.of_layers(model, 0, (4,))
