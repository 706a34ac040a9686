"""Whole models go the fast way with the same loss and gradients, and come back as they were."""

from __future__ import annotations

import peft
import pytest
import torch
import transformers

from ftune.data.collating import collate
from ftune.data.steps import Micro
from ftune.fast import trials
from ftune.fast.quick import paths_of, quick
from ftune.train.objectives import sft

VOCABULARY = 61
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
GPT2 = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4}
BLOOM = {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2, "n_head": 4}
OPT = {"ffn_dim": 48, "word_embed_proj_dim": 32, "pad_token_id": 0}
# Architecture, its sizes, whether its head is fast, kinds of modules that are (beside linear).
FAMILIES = {
    "Llama": (SIZES, True, {"norm", "gated"}),
    "Mistral": ({**SIZES, "head_dim": 8}, True, {"norm", "gated"}),
    "Qwen2": (SIZES, True, {"norm", "gated"}),
    "Qwen3": ({**SIZES, "head_dim": 8}, True, {"norm", "gated"}),
    "Gemma2": ({**SIZES, "head_dim": 8, "final_logit_softcapping": 5.0}, False, set()),
    "Granite": ({**SIZES, "logits_scaling": 3.0}, False, {"norm", "gated"}),
    "Cohere": (SIZES, False, {"gated"}),
    "Phi3": ({**SIZES, "eos_token_id": 1, "bos_token_id": 1}, True, {"norm"}),
    "GPT2": (GPT2, True, set()),
    "Bloom": (BLOOM, True, set()),
    "OPT": ({**SIZES, **OPT}, True, set()),
    "GPTNeoX": ({**SIZES, "rotary_pct": 0.5}, True, set()),
}


def base(family="Llama", **options):
    torch.manual_seed(0)
    sizes = {**FAMILIES[family][0], **options}
    config = getattr(transformers, f"{family}Config")(**sizes)
    named = "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM"
    return getattr(transformers, named)(config).train(False)


def lora(model, **options):
    settings = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **options}
    model = peft.get_peft_model(model, peft.LoraConfig(**settings))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def prompt_tuning(model):
    config = peft.PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM")
    return peft.get_peft_model(model, config)


def batch(packed=False):
    draw = torch.Generator().manual_seed(1)
    ids = [torch.randint(1, VOCABULARY, (n,), generator=draw).tolist() for n in (9, 4, 13, 2)]
    rows = [(row, [False, *[True] * (len(row) - 1)]) for row in ids]
    lines = ((0, 1), (2, 3)) if packed else ((0,), (1,), (2,), (3,))
    return collate(Micro(lines), rows.__getitem__, pad_id=0, packed=packed)


def taken(model, given):
    model.zero_grad()
    result = sft.loss(model, given, sft.Config())
    (result.total / result.count).backward()
    return result.total.detach(), {
        n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None
    }


def assert_same(one, other):
    torch.testing.assert_close(one[0], other[0], rtol=1e-5, atol=0)
    assert one[1].keys() == other[1].keys()
    largest = max(float(g.abs().max()) for g in one[1].values())
    for name, gradient in one[1].items():
        torch.testing.assert_close(other[1][name], gradient, rtol=1e-4, atol=1e-5 * largest)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tuning", [lora, lambda model: model], ids=["lora", "full"])
def test_same_loss_and_gradients(family, tuning):
    model, given = tuning(base(family)), batch()
    plain = taken(model, given)
    _, head, kinds = FAMILIES[family]
    with quick(model) as paths:
        assert (paths.head is not None) == head
        assert not paths.needs_padding_mask
        assert paths.modules.keys() - {"linear", "lora", "recompute"} == kinds
        assert_same(plain, taken(model, given))


@pytest.mark.parametrize(
    "change",
    [
        prompt_tuning,
        lambda m: lora(m, use_dora=True),
        lambda m: lora(m, lora_dropout=0.3).train(),
        lambda m: lora(m, modules_to_save=["lm_head"]),
        lambda m: lora(m, target_modules=["lm_head", "q_proj"]),
        lambda m: lora(m, trainable_token_indices=[3, 5]),
        lambda m: lora(m.double()).double(),
        lambda m: lora(m.bfloat16()),
    ],
    ids=["prompt", "dora", "dropout", "head saved", "head lora", "tokens", "float64", "bfloat16"],
)
@pytest.mark.parametrize("tied", [False, True])
def test_same_whatever_is_tuned(change, tied):
    model, given = change(base(tie_word_embeddings=tied)), batch()
    torch.manual_seed(3)
    plain = taken(model, given)
    with quick(model):
        torch.manual_seed(3)
        fast = taken(model, given)
    if next(model.parameters()).dtype != torch.bfloat16:
        assert_same(plain, fast)
        return
    torch.testing.assert_close(plain[0], fast[0], rtol=1e-2, atol=0)
    for name, gradient in plain[1].items():
        apart = (fast[1][name] - gradient).float().norm() / gradient.float().norm()
        assert apart < 0.05, name


def test_packed_rows_stay_apart():
    model = lora(base())
    plain = taken(model, batch(packed=True))
    with quick(model):
        assert_same(plain, taken(model, batch(packed=True)))
        assert_same(plain, taken(model, batch()))


def test_same_with_gradient_checkpointing():
    model = lora(base(), lora_dropout=0.3)
    torch.manual_seed(3)
    plain = taken(model.train(), batch())
    model.activation_checkpointing_enable({"use_reentrant": False})
    with quick(model):
        torch.manual_seed(3)
        assert_same(plain, taken(model, batch()))


def test_same_under_autocast():
    model = lora(base())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain = taken(model, batch())
        with quick(model):
            fast = taken(model, batch())
    torch.testing.assert_close(plain[0], fast[0], rtol=1e-2, atol=0)


def test_the_model_comes_back_as_it_was():
    model = lora(base())
    before = {n: (set(m.__dict__), m.training) for n, m in model.named_modules()}
    weights = {n: t.clone() for n, t in model.state_dict().items()}
    state = torch.get_rng_state()
    with quick(model) as paths:
        assert paths_of(model) is paths
        assert paths.modules["lora"] == 14
        assert model.state_dict().keys() == weights.keys()
    assert torch.equal(torch.get_rng_state(), state)
    after = {n: (set(m.__dict__), m.training) for n, m in model.named_modules()}
    assert after == before
    assert all(torch.equal(t, weights[n]) for n, t in model.state_dict().items())
    assert paths_of(model).head is None
    assert paths_of(model).needs_padding_mask


def test_inside_itself_it_changes_nothing_more():
    model = base()
    with quick(model) as outer:
        with quick(model) as inner:
            assert inner is outer
        assert paths_of(model) is outer
    assert paths_of(model) is not outer


def test_it_also_comes_back_after_an_error():
    model = base()
    with pytest.raises(KeyError), quick(model):
        raise KeyError
    assert not any("forward" in m.__dict__ for m in model.modules())


def test_another_forward_is_not_hidden():
    model = base()
    model.lm_head.forward = lambda x: torch.nn.functional.linear(x, model.lm_head.weight) * 2
    with quick(model) as paths:
        assert paths.head is None
        assert "forward" in model.lm_head.__dict__
    assert "forward" in model.lm_head.__dict__


def test_switched_off_by_the_environment(monkeypatch):
    monkeypatch.setenv("FTUNE_PLAIN", "1")
    model = base()
    with quick(model) as paths:
        assert paths.modules == {}
        assert paths.head is None
        assert paths.needs_padding_mask


def test_a_model_that_looks_ahead_keeps_its_mask():
    model = base()
    for layer in model.model.layers:
        layer.self_attn.is_causal = False
    assert not trials.ignores_what_follows(model)
    assert trials.ignores_what_follows(base())


def test_a_head_of_zeros_proves_nothing():
    model = base()
    torch.nn.init.zeros_(model.lm_head.weight)
    with quick(model) as paths:
        assert paths.head is None


def test_a_gate_with_a_bound_is_left_alone():
    model = base()

    class Bounded(type(model.model.layers[0].mlp)):
        def forward(self, x):
            gate = self.act_fn(self.gate_proj(x).clamp(max=2.0))
            return self.down_proj(gate * self.up_proj(x))

    for layer in model.model.layers:
        layer.mlp.__class__ = Bounded
    with quick(model) as paths:
        assert "gated" not in paths.modules
