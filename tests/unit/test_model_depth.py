"""Which layer each parameter of a model belongs to."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_training import tiny_llama

from ftune.model.depth import layer_groups
from ftune.model.tuning import lora


def called(model: Any) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {name: (below, names) for name, below, names in layer_groups(model)}


@pytest.mark.parametrize("tied", [True, False])
def test_layers_of_a_decoder(tied: bool) -> None:
    found = called(tiny_llama(tie_word_embeddings=tied))
    assert list(found) == ["layer 1", "layer 0", "embeddings"]
    assert [below for below, _ in found.values()] == [0, 1, 2]
    assert ("lm_head.weight" in found["layer 1"][1]) == (not tied)
    assert "model.norm.weight" in found["layer 1"][1]
    assert found["embeddings"][1] == ("model.embed_tokens.weight",)


def test_layers_of_other_architectures() -> None:
    import transformers as t

    small = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    opt = t.OPTForCausalLM(
        t.OPTConfig(**small, ffn_dim=8, word_embed_proj_dim=4, do_layer_norm_before=True)
    )
    found = called(opt)
    assert "model.decoder.final_layer_norm.weight" in found["layer 1"][1]
    assert {"model.decoder.embed_positions.weight", "model.decoder.project_in.weight"} <= set(
        found["embeddings"][1]
    )
    neox = t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**small, intermediate_size=8))
    assert "lm_head.weight" in called(neox)["layer 1"][1]
    gpt2 = t.GPT2LMHeadModel(t.GPT2Config(vocab_size=20, n_embd=8, n_layer=2, n_head=2))
    assert called(gpt2)["embeddings"][1] == ("transformer.wte.weight", "transformer.wpe.weight")
    bert = t.BertForSequenceClassification(t.BertConfig(**small, intermediate_size=8))
    found = called(bert)
    assert {"bert.pooler.dense.weight", "classifier.weight"} <= set(found["layer 1"][1])
    assert "bert.embeddings.LayerNorm.weight" in found["embeddings"][1]
    t5 = t.T5ForConditionalGeneration(
        t.T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=2, num_heads=2)
    )
    found = called(t5)
    order = ["decoder layer 1", "decoder layer 0", "encoder layer 1", "encoder layer 0"]
    assert list(found) == [*order, "embeddings"]
    assert "encoder.final_layer_norm.weight" in found["encoder layer 1"][1]
    assert "decoder.final_layer_norm.weight" in found["decoder layer 1"][1]
    assert found["embeddings"][1] == ("shared.weight",)


def test_layers_of_an_adapter_and_of_some_parameters() -> None:
    model = lora.attach(tiny_llama(), lora.Config(r=2), None)
    found = called(model)
    assert list(found) == ["layer 1", "layer 0"]
    assert all("lora_" in n and ".layers.0." in n for n in found["layer 0"][1])
    model = tiny_llama(num_hidden_layers=4)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".layers.0." in name or ".layers.2." in name)
    # The highest that is trained has the full rate; a layer between counts though it is frozen.
    assert [below for below, _ in called(model).values()] == [0, 2]
    model.requires_grad_(False).lm_head.requires_grad_(True)
    assert called(model) == {"head": (0, ("lm_head.weight",))}
