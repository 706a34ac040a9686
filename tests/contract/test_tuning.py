"""What every tuning method owes: gradients where they belong, and a save that comes back equal.

Methods are discovered by their files, so a new one is tested from the moment it exists.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_runs import NARROW

from ftune import registry
from ftune.errors import ModelError
from ftune.model import adapters, devices, merging, sizes
from ftune.model.attaching import keeps_base
from ftune.model.loading import Loaded, load_model, load_tokenizer
from ftune.recipe.schema import Model, Quantization

# What a method's Config and base need besides the defaults; a method not named here needs nothing.
FOUR = {"quantization": Quantization(load_in_4bit=True)}
EIGHT = {"quantization": Quantization(load_in_8bit=True)}
# Methods that can't stand on the models here as they are; tested by themselves.
APART = {
    "qlora": "needs 4 bits",
    "bitfit": "needs biases",
    "importance": "needs data; see tests/unit/test_chosen.py",
}
NOT_QUANTIZED = {"full", "freeze", "hra"}
NOT_IN_4_BITS = {"loha", "lokr"}
# PEFT has them for plain linear layers only.
LINEAR_ONLY = {"oft", "boft", "loha", "lokr", "hra", "miss", "road"}
NETS = {"p_tuning", "prefix_tuning"}  # saved without what made them
SOFT = "a soft prompt can't be merged"
NOT_MERGED = {
    **dict.fromkeys(
        ("prompt_tuning", "p_tuning", "prefix_tuning", "p_tuning_v2", "multitask_prompt_tuning"),
        SOFT,
    ),
    "full": "there is nothing to merge",
    "bottleneck": "bottleneck adapters can't be merged",
}
PLAIN = [name for name in registry.METHODS.names() if name not in APART]
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    *(
        (name, {}, keys)
        for name in registry.METHODS.names()
        if name not in {*APART, *NOT_QUANTIZED, "lora", "prompt_tuning"}
        for keys in ((EIGHT,) if name in NOT_IN_4_BITS else (FOUR, EIGHT))
    ),
    ("lora", {"rank_pattern": {"q_proj": 4}, "alpha_pattern": {".*down_proj": 7}}, {}),
    ("lora", {"loraplus_lr_ratio": 16.0}, {}),
    ("adalora", {"init_r": 3, "target_r": 1, "target_modules": ("v_proj",)}, {}),
    ("vera", {"r": 8, "save_projection": False, "target_modules": ("up_proj", "q_proj")}, {}),
    ("ia3", {"target_modules": ("q_proj", "up_proj"), "feedforward_modules": ("up_proj",)}, {}),
    ("ia3", {"target_modules": "all-linear"}, {}),
    ("oft", {"oft_block_size": 8, "coft": True, "block_share": True}, {}),
    ("oft", {"use_cayley_neumann": False}, {}),
    ("boft", {"boft_block_size": 8, "target_modules": ("v_proj",), "boft_dropout": 0.2}, {}),
    ("layernorm", {"target_modules": ("input_layernorm",)}, {}),
    ("p_tuning", {"encoder_reparameterization_type": "LSTM", "encoder_hidden_size": 16}, {}),
    ("p_tuning_v2", {"num_virtual_tokens": 3, "init_text": "Once upon"}, {}),
    ("prefix_tuning", {"num_virtual_tokens": 3, "encoder_hidden_size": 16}, {}),
    ("freeze", {"last_layers": 0, "layers": (0,)}, {}),
    ("freeze", {"last_layers": 0, "pattern": r".*norm.*"}, {}),
    ("freeze", {"pattern": r".*embed_tokens.*"}, {"add_tokens": ("<|new|>",)}),
    ("lora", {"use_rslora": True, "init_lora_weights": "gaussian", "r": 3}, {}),
    ("lora", {"use_dora": True, "lora_dropout": 0.1}, {}),
    ("lora", {"init_lora_weights": "pissa"}, {}),
    ("lora", {"init_lora_weights": "olora"}, {}),
    ("lora", {"init_lora_weights": "orthogonal"}, {}),
    ("lora", {"target_modules": ("q_proj", "v_proj"), "modules_to_save": ("norm",)}, {}),
    ("lora", {"target_modules": r".*layers\.0\..*(gate|up)_proj"}, {}),
    ("lora", {"modules_to_save": ("embed_tokens",)}, {"add_tokens": ("<|new|>",)}),
    ("lora", {}, {"add_tokens": ("<|new|>", "<|other|>")}),
    ("lora", {}, {"quantization": Quantization(load_in_8bit=True)}),
    ("full", {}, {"add_tokens": ("<|new|>",)}),
    ("prompt_tuning", {"prompt_tuning_init": "TEXT", "prompt_tuning_init_text": "Once upon"}, {}),
    ("prompt_tuning", {"prompt_tuning_init": "RANDOM", "num_virtual_tokens": 3}, {}),
    ("qlora", {}, {"quantization": Quantization(load_in_4bit=True)}),
    ("qlora", {"use_dora": True}, {"quantization": Quantization(load_in_4bit=True)}),
    ("lora", {}, {"dtype": "bfloat16"}),
    ("lora", {"init_lora_weights": "pissa"}, {"dtype": "bfloat16"}),
    ("prompt_tuning", {}, {"dtype": "bfloat16"}),
    ("qlora", {}, {"dtype": "bfloat16", "quantization": Quantization(load_in_4bit=True)}),
    (
        "qlora",
        {},
        {
            "quantization": Quantization(load_in_4bit=True, bnb_4bit_quant_type="fp4"),
            "add_tokens": ("<|new|>",),
        },
    ),
]


def base(path: str, **keys: Any) -> Loaded:
    model = Model(name_or_path=path, device="cpu", **keys)
    return load_model(model, load_tokenizer(model))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of two tiny models: one like Llama, and one whose layers all have biases."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(5)
    ends: dict[str, Any] = {"vocab_size": 2048, "bos_token_id": 1, "eos_token_id": 2}
    llama = LlamaConfig(
        **ends, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.2,
    )  # fmt: skip
    gpt2 = GPT2Config(
        **ends, n_embd=16, n_layer=2, n_head=2, n_positions=64, initializer_range=0.5
    )  # fmt: skip
    found = {}
    for name, model in {"llama": LlamaForCausalLM(llama), "gpt2": GPT2LMHeadModel(gpt2)}.items():
        folder = tmp_path_factory.mktemp(name)
        model.save_pretrained(folder)
        load_tokenizer(Model(name_or_path="ftune:tiny")).save_pretrained(folder)
        found[name] = str(folder)
    return found


def step(model: Any, ids: Any) -> dict[str, Any]:
    """One backward pass and a large step on it; returns the gradients."""
    import torch

    model.train()
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                # Sign steps also move what starts with a gradient of zero's neighbourhood.
                parameter -= 0.01 * parameter.grad.sign() + 0.001
    return gradients


def logits(model: Any, ids: Any) -> Any:
    import torch

    model.eval()
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


@pytest.fixture(params=["TinyStories-656K", "ftune:tiny"])
def path(request: pytest.FixtureRequest) -> str:
    if str(request.param).startswith("ftune:"):
        return str(request.param)
    return str(request.getfixturevalue("shared") / "models" / request.param)


@pytest.mark.parametrize("method", PLAIN)
def test_trains_saves_and_loads(path: str, method: str, tmp_path: Path) -> None:
    check_trains_saves_and_loads(path, method, {}, {}, tmp_path)


@pytest.mark.parametrize(("method", "keys", "model_keys"), CASES, ids=str)
def test_with_other_keys(
    made: dict[str, str],
    method: str,
    keys: dict[str, Any],
    model_keys: dict[str, Any],
    tmp_path: Path,
) -> None:
    check_trains_saves_and_loads(made["llama"], method, keys, model_keys, tmp_path)


@pytest.mark.parametrize("method", [*PLAIN, "bitfit"])
def test_on_a_model_with_biases(made: dict[str, str], method: str, tmp_path: Path) -> None:
    if method in LINEAR_ONLY:
        extension, loaded = registry.METHODS.load(method), base(made["gpt2"])
        blocks = {f"{method}_block_size": 8} if method in ("oft", "boft") else {}
        config = extension.Config(**blocks)
        with pytest.raises(ModelError, match=r"Conv1D.* not supported"):
            extension.attach(loaded.model, config, loaded.tokenizer)
        return
    check_trains_saves_and_loads(made["gpt2"], method, {}, {}, tmp_path)


def check_trains_saves_and_loads(
    path: str, method: str, keys: dict[str, Any], model_keys: dict[str, Any], tmp_path: Path
) -> None:
    import torch

    if model_keys.get("dtype", "float32") not in {"float32", *devices.probe().works}:
        pytest.skip("bfloat16 does not work on this CPU")
    extension, loaded = registry.METHODS.load(method), base(path, **model_keys)
    ids = torch.randint(3, 2000, (2, 12), generator=torch.Generator().manual_seed(1))
    if model_keys.get("add_tokens"):
        ids[:, 5] = loaded.tokenizer.convert_tokens_to_ids("<|new|>")
    frozen = {n: p.detach().clone() for n, p in loaded.model.named_parameters()}
    before = logits(loaded.model, ids)
    torch.manual_seed(3)
    config = extension.Config(**{**NARROW.get(method, {}), **keys})
    model = extension.attach(loaded.model, config, loaded.tokenizer)
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    counted = sizes.count(model)
    assert 0 < counted.trainable <= counted.total
    gradients = step(model, ids)
    assert set(gradients) <= trainable
    assert gradients and all(bool(g.isfinite().all()) for g in gradients.values())

    expected = logits(model, ids)
    assert (expected[:, -12:] - before).abs().max() > 1e-3  # it did learn something
    if keeps_base(model):
        with model.disable_adapter():
            assert torch.equal(logits(model, ids), before)
    adapters.save(
        model, tmp_path / "out", base=loaded.identity, tokenizer=loaded.tokenizer, method=method
    )
    again = adapters.load(base(path, **model_keys), tmp_path / "out")
    assert not any(p.requires_grad for p in again.parameters())
    torch.testing.assert_close(logits(again, ids), expected, rtol=0, atol=1e-5)

    if method in NETS:
        with pytest.raises(ModelError, match="without the net"):
            adapters.load(base(path, **model_keys), tmp_path / "out", trainable=True)
    else:
        more = adapters.load(base(path, **model_keys), tmp_path / "out", trainable=True)
        assert {n for n, p in more.named_parameters() if p.requires_grad} == trainable
    if method != "full" and not keys.get("init_lora_weights"):
        fresh = base(path, **model_keys).model
        assert all(torch.equal(frozen[n], p) for n, p in fresh.named_parameters())
    check_merge(path, method, model_keys, tmp_path)


def check_merge(path: str, method: str, model_keys: dict[str, Any], folder: Path) -> None:
    """It is merged with its proof, or refused with the reason."""
    section = Model(name_or_path=path, device="cpu", **model_keys)
    if method in NOT_MERGED:
        with pytest.raises(ModelError, match=NOT_MERGED[method]):
            merging.merge(section, folder / "out", folder / "merged")
        return
    assert merging.merge(section, folder / "out", folder / "merged").holds


@pytest.mark.parametrize(("method", "keys"), [("hra", EIGHT), ("loha", FOUR), ("lokr", FOUR)])
def test_packed_weights_are_refused(made: dict[str, str], method: str, keys: Any) -> None:
    extension, loaded = registry.METHODS.load(method), base(made["llama"], **keys)
    with pytest.raises(ModelError, match=r"are packed; leave out model\.quantization"):
        extension.attach(loaded.model, extension.Config(), loaded.tokenizer)


def test_state_restores_every_trained_tensor(path: str) -> None:
    import torch

    extension, loaded = registry.METHODS.load("lora"), base(path)
    model = extension.attach(loaded.model, extension.Config(), loaded.tokenizer)
    ids = torch.arange(3, 15)[None]
    kept = {name: tensor.clone() for name, tensor in adapters.state(model).items()}
    first = logits(model, ids)
    step(model, ids)
    assert not torch.equal(logits(model, ids), first)
    adapters.load_state(model, kept)
    assert torch.equal(logits(model, ids), first)


def test_lora_equals_pefts_own(path: str) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    extension, loaded = registry.METHODS.load("lora"), base(path)
    torch.manual_seed(7)
    config = extension.Config(r=5, lora_alpha=10, lora_dropout=0.1)
    ours = extension.attach(loaded.model, config, loaded.tokenizer)
    other = base(path).model
    torch.manual_seed(7)
    theirs = get_peft_model(
        other,
        LoraConfig(
            r=5, lora_alpha=10, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    pairs = zip(ours.named_parameters(), theirs.named_parameters(), strict=True)
    for (our_name, our), (their_name, their) in pairs:
        assert our_name == their_name and our.requires_grad == their.requires_grad
        assert torch.equal(our, their)
    assert theirs.get_nb_trainable_parameters()[0] == sizes.count(ours).trainable


@pytest.mark.parametrize("name", registry.METHODS.names())
def test_a_method_imports_without_torch(name: str) -> None:
    code = (
        f"import sys, ftune.model.tuning.{name} as m; m.Config();"
        "heavy = {'torch', 'transformers', 'peft', 'bitsandbytes'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert registry.METHODS.help(name).endswith(".")
    config = registry.METHODS.load(name).Config
    assert config(**config().model_dump()) == config()
    assert all(field.description for field in config.model_fields.values())
