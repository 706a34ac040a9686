"""A model whose weights are read later has the very same ones as one that transformers reads."""

from __future__ import annotations

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from unread_models import CPU, NoTokens, same, saved, section, unread, whole

from ftune.errors import ModelError
from ftune.model import loading, standins, weights
from ftune.model.resolve import locate
from ftune.model.tuning import full, ia3, lora, vera
from ftune.recipe.schema import Model
from ftune.types import Task

SIZES = {
    "vocab_size": 48,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
OLD = {"vocab_size": 48, "n_embd": 16, "n_layer": 2, "n_head": 2}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**SIZES),
    "tied": lambda: transformers.LlamaConfig(**SIZES, tie_word_embeddings=True),
    "gemma2": lambda: transformers.Gemma2Config(**SIZES, head_dim=8),
    "gpt2": lambda: transformers.GPT2Config(**OLD, bos_token_id=1, eos_token_id=2),
    "experts, put together from many tensors": lambda: transformers.MixtralConfig(
        **SIZES, num_local_experts=3
    ),
    "experts and buffers in the files": lambda: transformers.DeepseekV3Config(
        **{**SIZES, "num_key_value_heads": 2}, n_routed_experts=4, num_experts_per_tok=2,
        n_group=1, topk_group=1, moe_intermediate_size=16, first_k_dense_replace=1,
        kv_lora_rank=8, q_lora_rank=8, qk_rope_head_dim=8, v_head_dim=8, qk_nope_head_dim=8,
    ),
    "neox": lambda: transformers.GPTNeoXConfig(
        **{k: v for k, v in SIZES.items() if "key_value" not in k}, eos_token_id=2
    ),
    "mamba": lambda: transformers.MambaConfig(
        vocab_size=48, hidden_size=16, num_hidden_layers=2, state_size=4
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_each_layer_read_for_itself_gives_the_model_of_transformers(tmp_path, name):
    saved(tmp_path, CONFIGS[name](), max_shard_size="8KB")
    dtype = "bfloat16" if name in ("llama", "mamba") else "float32"
    model, waiting = unread(tmp_path, dtype)
    other = whole(tmp_path, dtype)
    assert all(p.untyped_storage().nbytes() == p.element_size() for p in model.parameters())
    waiting.check(model)
    waiting.draw()
    ids = torch.arange(3, 11)[None]
    assert bool(model.eval()(input_ids=ids).logits.isfinite().all())  # it can be tried
    for part in model.get_submodule(model.base_model_prefix).children():
        waiting.fill(part)
    waiting.fill(model)
    assert not waiting.waiting
    same(model, other)
    assert torch.equal(model(input_ids=ids).logits, other.eval()(input_ids=ids).logits)
    ties = [m.get_output_embeddings().weight is m.get_input_embeddings().weight
            for m in (model, other)]  # fmt: skip
    assert ties[0] == ties[1]


def test_one_that_writes_from_a_text_is_read_so_too(tmp_path):
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=48, d_model=16, d_ff=24, d_kv=8, num_layers=2, num_heads=2
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    given = (section(tmp_path), locate(str(tmp_path)))
    task = Task("seq2seq_lm")
    model = loading.read(*given, "meta", torch.float32, False, task)
    standins.take_place(model, weights.files(tmp_path), CPU).fill(model)
    same(model, loading.read(*given, CPU, torch.float32, False, task))


@pytest.mark.parametrize(
    ("method", "config"),
    [
        (lora, lora.Config(r=2)),
        (lora, lora.Config(r=2, init_lora_weights="orthogonal", use_rslora=True)),
        (ia3, ia3.Config()),
        (vera, vera.Config(r=2)),
        (full, full.Config()),
    ],
)
def test_what_is_attached_is_the_same(tmp_path, method, config):
    saved(tmp_path, CONFIGS["llama"]())
    model, waiting = unread(tmp_path, "bfloat16")
    made = []
    for base in (model, whole(tmp_path, "bfloat16")):
        base.requires_grad_(False)
        torch.manual_seed(3)
        made.append(method.attach(base, config, NoTokens()))
    waiting.check(made[0])
    waiting.draw()
    waiting.fill(made[0])
    same(*made)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (lora.Config(r=2, use_dora=True), "is made of the base's own weights"),
        (lora.Config(r=2, modules_to_save=("lm_head",)), "is made of the base's own weights"),
    ],
)
def test_methods_that_look_at_the_weights_are_told(tmp_path, config, said):
    saved(tmp_path, CONFIGS["llama"]())
    model, waiting = unread(tmp_path)
    model.requires_grad_(False)
    with pytest.raises(standins.ObstacleError, match=said):
        waiting.check(lora.attach(model, config, NoTokens()))


def test_methods_that_change_the_weights_are_told(tmp_path):
    saved(tmp_path, CONFIGS["llama"]())
    model, waiting = unread(tmp_path)
    model.model.layers[0].mlp.up_proj.weight.data = torch.zeros(24, 16)
    with pytest.raises(standins.ObstacleError, match=r"changes .*up_proj"):
        waiting.check(model)
    model.model.norm.weight = torch.nn.Parameter(torch.zeros(16))
    waiting.waiting.pop(id(model.model.layers[0].mlp.up_proj.weight))
    with pytest.raises(standins.ObstacleError, match=r"replaces .*norm"):
        waiting.check(model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"quantization": {"load_in_4bit": True}}, "quantized"),
        ({"trust_remote_code": True}, "code that comes with the model"),
    ],
)
def test_bases_that_are_read_another_way_are_told(tmp_path, change, said):
    with pytest.raises(standins.ObstacleError, match=said):
        standins.refuse(Model(name_or_path="x", **change), NoTokens(), None)
    with pytest.raises(standins.ObstacleError, match="drawn anew"):
        standins.refuse(Model(name_or_path="x"), NoTokens(), Task("sequence", ("a", "b")))


def test_files_that_change_meanwhile_are_told(tmp_path):
    saved(tmp_path, CONFIGS["llama"]())
    file = tmp_path / "model.safetensors"
    data = file.read_bytes()
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    model, waiting = unread(tmp_path)
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="can't be read any more"):
        waiting.fill(model.model.layers[0])
    file.unlink()
    with pytest.raises(ModelError, match="can't be read any more"):
        waiting.fill(model.model.layers[1])
    tensors["lm_head.weight"] = tensors["lm_head.weight"][:9].clone()
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ModelError, match=r"lm_head.weight: is \[9, 16\] .* was \[48, 16\]"):
        waiting.fill(model)
    with pytest.raises(ModelError, match=r"lm_head.weight have another shape"):
        unread(tmp_path)
