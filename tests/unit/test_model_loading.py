"""Base models: whole and finite or refused, quantized with a gradient, vocabulary as asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftune.errors import ModelError
from ftune.model import sizes, vocabulary
from ftune.model.loading import Loaded, load_model, load_tokenizer, quantization_config
from ftune.model.resolve import ASSETS
from ftune.recipe.schema import Model, Quantization


def section(name: object = "ftune:tiny", **keys: object) -> Model:
    return Model.model_validate({"name_or_path": str(name), "device": "cpu", **keys})


def load(name: object = "ftune:tiny", **keys: object) -> Loaded:
    model = section(name, **keys)
    return load_model(model, load_tokenizer(model))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ASSETS / "tiny", tmp_path / "model"))


def change_weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder: Path, **keys: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **keys}))


def test_equals_plain_transformers() -> None:
    import torch
    from transformers import AutoModelForCausalLM

    loaded = load()
    plain = AutoModelForCausalLM.from_pretrained(ASSETS / "tiny", dtype=torch.float32)
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        assert torch.equal(loaded.model(ids).logits, plain(ids).logits)
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    facts = loaded.facts
    assert facts["parameters"] == sum(p.numel() for p in plain.parameters())
    assert facts["bytes"] >= 4 * facts["parameters"]
    assert (facts["layers"], facts["vocabulary"]) == (
        plain.config.num_hidden_layers,
        plain.config.vocab_size,
    )
    assert (facts["dtype"], facts["device"], facts["attention"]) == ("float32", "cpu", "sdpa")


def test_greedy_output_of_a_published_model(shared: Path) -> None:
    import torch

    folder = shared / "models" / "stories260K"
    loaded = load(folder)
    expected = (folder / "expected_greedy_llama2c.txt").read_text().strip()
    start = torch.tensor([[loaded.tokenizer.bos_token_id]])
    with torch.no_grad():
        ids = loaded.model.generate(start, max_new_tokens=200, do_sample=False)
    text = loaded.tokenizer.decode(ids[0], skip_special_tokens=True).strip()
    assert min(len(text), len(expected)) > 100
    assert expected.startswith(text) or text.startswith(expected)


def test_missing_unexpected_and_misshapen_weights_are_named(copy: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    change_weights(copy, lambda tensors: tensors.update(extra=tensors.pop(name)))
    with pytest.raises(ModelError) as caught:
        load(copy)
    assert f"{name} are missing" in str(caught.value)
    assert "extra are in its files but nowhere in the model" in str(caught.value)
    shutil.copy(ASSETS / "tiny" / "model.safetensors", copy)
    change_config(copy, intermediate_size=512)
    with pytest.raises(ModelError, match=r"layers.*mlp.* have another shape than config\.json"):
        load(copy)


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("quantization", [None, {"load_in_4bit": True}])
def test_weights_that_are_no_numbers_are_named(
    copy: Path, value: str, quantization: object
) -> None:
    name = "model.layers.2.self_attn.k_proj.weight"

    def spoil(tensors: dict[str, Any]) -> None:
        tensors[name][3, 5] = float(value)

    change_weights(copy, spoil)
    with pytest.raises(ModelError, match=f"{name} holds NaN or infinity"):
        load(copy, quantization=quantization)


def test_remote_code_needs_both_sides(copy: Path) -> None:
    (copy / "evil.py").write_text(f"open({str(copy / 'ran')!r}, 'w')")
    names = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M", "AutoTokenizer": "evil.T"}
    change_config(copy, model_type="evil", auto_map=names)
    with pytest.raises(ModelError, match="--trust-remote-code"):
        load(copy, trust_remote_code=True)
    plain = load_tokenizer(section())
    with pytest.raises(ModelError, match="can't be loaded"):
        load_model(section(copy), plain)
    assert not (copy / "ran").exists()


def test_a_model_without_a_tokenizer(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        load_tokenizer(section(copy))


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_4_bit_layers_have_the_gradient_of_their_unpacked_weights(kind: str) -> None:
    """Also after an evaluation, where bitsandbytes packs weights for products without gradient."""
    import torch
    from bitsandbytes.functional import dequantize_4bit

    loaded = load(quantization={"load_in_4bit": True, "bnb_4bit_quant_type": kind})
    assert loaded.facts["quantized_modules"] == 28
    plain = load()
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if (state := getattr(parameter, "quant_state", None)) is not None:
                plain.model.get_parameter(name).copy_(dequantize_4bit(parameter, state))
    ids = torch.arange(3, 40)[None]
    for _ in range(2):
        answers, gradients = [], []
        for model in (loaded.model, plain.model):
            model.train()
            inputs = model.get_input_embeddings()(ids).detach().requires_grad_()
            logits = model(inputs_embeds=inputs).logits
            logits.logsumexp(-1).sum().backward()
            answers.append(logits.detach())
            gradients.append(inputs.grad)
        torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
        loaded.model.eval()
        with torch.no_grad():
            evaluated = loaded.model(ids).logits
        torch.testing.assert_close(evaluated, answers[0], rtol=1e-4, atol=1e-4)


def test_8_bit_layers_have_about_the_gradient_of_plain_ones() -> None:
    """About, since activations are rounded to 8 bits as well."""
    import torch

    ids = torch.arange(3, 40)[None]
    gradients = []
    for quantization in (None, {"load_in_8bit": True}):
        model = load(quantization=quantization).model
        for _ in range(2):  # again after an evaluation
            inputs = model.get_input_embeddings()(ids).detach().requires_grad_()
            model.train()(inputs_embeds=inputs).logits.logsumexp(-1).sum().backward()
            assert inputs.grad is not None
            gradients.append(inputs.grad.flatten())
            with torch.no_grad():
                model.eval()(ids)
    for gradient in gradients[1:]:
        assert torch.cosine_similarity(gradients[0], gradient, dim=0) > 0.99


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_types_are_near(dtype: str) -> None:
    import torch

    from ftune.model import devices

    if dtype not in devices.probe().works:
        pytest.skip(f"{dtype} does not work on this CPU")
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        narrow, plain = load(dtype=dtype).model(ids).logits, load().model(ids).logits
    assert str(narrow.dtype) == f"torch.{dtype}"
    torch.testing.assert_close(narrow.float(), plain, rtol=0.1, atol=0.2)


def test_an_attention_that_is_not_installed(copy: Path) -> None:
    import importlib.util

    if importlib.util.find_spec("flash_attn") is None:
        with pytest.raises(ModelError, match="attn_implementation: sdpa"):
            load(attn_implementation="flash_attention_2")


def test_counts_of_a_quantized_model_are_those_of_its_numbers() -> None:
    plain, packed = load(), load(quantization={"load_in_4bit": True})
    assert packed.facts["parameters"] == plain.facts["parameters"]
    assert packed.facts["bytes"] < 0.5 * plain.facts["bytes"]
    assert sizes.count(plain.model.requires_grad_(True)).percent == 100


def test_quantization_takes_one_of_both() -> None:
    import torch

    for both in (True, False):
        with pytest.raises(ModelError, match="set one of"):
            quantization_config(Quantization(load_in_4bit=both, load_in_8bit=both), torch.float32)
    made = quantization_config(
        Quantization(load_in_8bit=True, llm_int8_threshold=3.5), torch.float32
    )
    assert made.llm_int8_threshold == 3.5
    made = quantization_config(
        Quantization(load_in_4bit=True, bnb_4bit_use_double_quant=False), torch.bfloat16
    )
    assert made.bnb_4bit_compute_dtype == torch.bfloat16 and not made.bnb_4bit_use_double_quant


def test_added_tokens_stay_whole_and_start_at_the_mean() -> None:
    import torch

    loaded = load(add_tokens=("<|tool|>", "<|im_start|>"))
    tokenizer = loaded.tokenizer
    ids = vocabulary.added_ids(tokenizer)
    assert tokenizer("a<|tool|>b", add_special_tokens=False)["input_ids"].count(ids[0]) == 1
    plain = load()
    old = plain.model.get_input_embeddings().weight
    new = loaded.model.get_input_embeddings().weight
    assert new.shape[0] == old.shape[0] + 1 == loaded.facts["vocabulary"]
    torch.testing.assert_close(new[ids[0]], old.mean(0))
    assert torch.equal(new[: len(old)], old)  # <|im_start|> was there and keeps its row
    assert ids[1] == plain.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert loaded.model.get_output_embeddings().weight is new
    assert vocabulary.added_ids(plain.tokenizer) == ()


def test_rows_in_reserve_are_used_first(copy: Path) -> None:
    import torch

    def pad(tensors: dict[str, Any]) -> None:
        table = tensors["model.embed_tokens.weight"]
        tensors["model.embed_tokens.weight"] = torch.cat([table, torch.zeros_like(table[:64])])

    change_weights(copy, pad)
    change_config(copy, vocab_size=2048 + 64)
    loaded = load(copy, add_tokens=("<|tool|>",))
    weight = loaded.model.get_input_embeddings().weight
    assert weight.shape[0] == 2048 + 64
    torch.testing.assert_close(weight[2048], weight[:2048].mean(0))


def test_added_tokens_that_make_no_sense() -> None:
    for tokens in (("<a>", "<a>"), (" ",), ("",)):
        with pytest.raises(ModelError, match="add_tokens"):
            load_tokenizer(section(add_tokens=tokens))


def tokenizer_of(*tokens: str, **roles: str) -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate(tokens)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token=tokens[0]))
    return PreTrainedTokenizerFast(tokenizer_object=raw, **roles)


@pytest.mark.parametrize(
    ("tokens", "roles", "rows", "pad"),
    [
        (("a", "</s>", "<p>"), {"eos_token": "</s>", "pad_token": "<p>"}, 3, "<p>"),
        (("a", "</s>", "<pad>"), {"eos_token": "</s>", "pad_token": "</s>"}, 3, "<pad>"),
        (("a", "</s>", "<pad>"), {"eos_token": "</s>"}, 2, None),  # <pad> has no row
        (("<unk>", "</s>"), {"eos_token": "</s>", "unk_token": "<unk>"}, 2, "<unk>"),
        (("a", "<|endoftext|>"), {"eos_token": "<|endoftext|>"}, 2, None),
        (("a", "<|im_end|>", "<|endoftext|>"), {"eos_token": "<|im_end|>"}, 3, "<|endoftext|>"),
        (
            ("a", "<|eot_id|>", "<|finetune_right_pad_id|>"),
            {"eos_token": "<|eot_id|>", "pad_token": "<|eot_id|>"},
            3,
            "<|finetune_right_pad_id|>",
        ),
    ],
)
def test_pad_is_never_the_end_mark(
    tokens: tuple[str, ...], roles: dict[str, str], rows: int, pad: str | None
) -> None:
    tokenizer = tokenizer_of(*tokens, **roles)
    vocabulary.choose_pad(tokenizer, rows)
    assert tokenizer.pad_token == pad
    assert len(tokenizer) == len(tokens)  # nothing was added for it
    assert tokenizer.pad_token_id is None or tokenizer.pad_token_id != tokenizer.eos_token_id
