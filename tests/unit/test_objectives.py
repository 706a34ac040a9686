"""The loss on trained positions only equals the plain one, whatever is tuned and however packed."""

from __future__ import annotations

import peft
import pytest
import torch
import transformers

from ftune.data.collating import collate
from ftune.data.steps import Micro
from ftune.errors import ModelError
from ftune.train.isolation import isolated
from ftune.train.objectives import sft
from ftune.types import Batch

VOCABULARY = 61


def llama(seed: int = 0, **options) -> transformers.LlamaForCausalLM:
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        **options,
    )
    return transformers.LlamaForCausalLM(config).double()


def lora(model, **options):
    config = peft.LoraConfig(
        r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM", **options
    )
    return peft.get_peft_model(model, config).double()


def prompt_tuning(model):
    config = peft.PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM")
    return peft.get_peft_model(model, config).double()


def gemma2():
    torch.manual_seed(0)
    return transformers.Gemma2ForCausalLM(
        transformers.Gemma2Config(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            final_logit_softcapping=5.0,
        )
    ).double()


MODELS = {
    "full": llama,
    "tied": lambda: llama(tie_word_embeddings=True),
    "lora": lambda: lora(llama()),
    "lora on the head": lambda: peft.get_peft_model(
        llama(),
        peft.LoraConfig(target_modules=["lm_head", "q_proj"], init_lora_weights=False),
    ).double(),
    "head saved": lambda: lora(llama(), modules_to_save=["lm_head"]),
    "prompt tuning": lambda: prompt_tuning(llama()),
    "soft-capped logits": gemma2,
}


def rows(count: int = 6):
    """Rows of several lengths; half of each is trained, not always in one piece."""
    generator = torch.Generator().manual_seed(1)
    lengths = [9, 4, 13, 2, 7, 5][:count]
    ids = [torch.randint(1, VOCABULARY, (n,), generator=generator).tolist() for n in lengths]
    trained = [(torch.rand(n, generator=generator) < 0.6).tolist() for n in lengths]
    return [(i, [False, *t[1:-1], True]) for i, t in zip(ids, trained, strict=True)]


def batch_of(lines, packed=False) -> Batch:
    return collate(Micro(lines), rows().__getitem__, pad_id=0, packed=packed)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_alike(one, other, bound=1e-9):
    assert one.keys() == other.keys()
    assert one
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=bound, atol=bound)


@pytest.mark.parametrize("name", MODELS)
def test_equal_to_the_loss_of_transformers(name):
    model = MODELS[name]().eval()
    batch = batch_of(tuple((i,) for i in range(6)))
    ours = sft.loss(model, batch, sft.Config())
    assert ours.count == batch.count == int((batch.labels != -100).sum())
    plain = model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
    ).loss
    assert float((ours.total / ours.count - plain).detach()) == pytest.approx(0, abs=1e-6)
    # transformers takes the loss in 32 bits, so gradients agree that far.
    assert_alike(gradients(model, ours.total / ours.count), gradients(model, plain), 1e-7)


def test_the_array_over_the_vocabulary_is_made_for_trained_positions_only():
    model = llama()
    seen = []
    model.lm_head.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    batch = batch_of(((0,), (2,)))
    sft.loss(model, batch, sft.Config())
    assert seen == [(1, batch.count, VOCABULARY)]
    assert batch.count < batch.input_ids.numel() / 2


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("make", [llama, lambda **o: lora(llama(**o))])
def test_packed_equals_unpacked(make, implementation):
    model = make(attn_implementation=implementation)
    single = sft.loss(model, batch_of(tuple((i,) for i in range(6))), sft.Config())
    single_gradients = gradients(model, single.total)
    packed = sft.loss(model, batch_of(((0, 1, 3), (2, 4), (5,)), packed=True), sft.Config())
    assert packed.count == single.count
    torch.testing.assert_close(packed.total, single.total, rtol=1e-6, atol=1e-6)
    assert_alike(gradients(model, packed.total), single_gradients, 1e-6)


def test_however_a_batch_is_split_the_gradient_is_the_same():
    model = lora(llama())
    whole = sft.loss(model, batch_of(tuple((i,) for i in range(6))), sft.Config())
    expected = gradients(model, whole.total)
    for split in ([(0, 1, 2), (3, 4, 5)], [(0,), (1,), (2,), (3,), (4,), (5,)]):
        parts = [sft.loss(model, batch_of(tuple((i,) for i in s)), sft.Config()) for s in split]
        assert sum(p.count for p in parts) == whole.count
        total = sum(p.total for p in parts)
        torch.testing.assert_close(total, whole.total, rtol=1e-7, atol=0)
        assert_alike(gradients(model, total), expected, 1e-7)


def test_gradient_checkpointing_changes_nothing():
    model = lora(llama())
    batch = batch_of(((0,), (1,), (2,)))
    expected = gradients(model, sft.loss(model, batch, sft.Config()).total)
    model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    assert_alike(gradients(model, sft.loss(model, batch, sft.Config()).total), expected)


def test_chunks_of_the_cross_entropy_add_up(monkeypatch):
    model = llama()
    batch = batch_of(tuple((i,) for i in range(6)))
    expected = sft.loss(model, batch, sft.Config()).total
    monkeypatch.setattr(sft, "CHUNK", 3)
    torch.testing.assert_close(sft.loss(model, batch, sft.Config()).total, expected)


def test_a_batch_without_targets_gives_zero_with_gradient():
    model = llama()
    batch = collate(Micro(((0,),), idle=True), rows().__getitem__, pad_id=0, packed=False)
    result = sft.loss(model, batch, sft.Config())
    assert (float(result.total.detach()), result.count) == (0.0, 0)
    assert all(bool((g == 0).all()) for g in gradients(model, result.total).values())


def test_the_hook_goes_even_if_the_model_fails():
    model = llama()
    batch = batch_of(((0,),))
    bad = Batch(batch.input_ids + 1000, batch.labels, batch.position_ids, None, (0,), batch.count)
    with pytest.raises(IndexError):
        sft.loss(model, bad, sft.Config())
    assert not model.lm_head._forward_pre_hooks
    sft.loss(model, batch, sft.Config())
    assert not model.lm_head._forward_pre_hooks


def test_a_model_without_head_is_refused():
    with pytest.raises(ModelError, match="no output head"):
        sft.loss(llama().model, batch_of(((0,),)), sft.Config())


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_isolation_is_seen(implementation):
    model = llama(attn_implementation=implementation).float()
    assert isolated(model)
    assert isolated(lora(model).float())


def test_lack_of_isolation_is_seen():
    assert not isolated(prompt_tuning(llama()).float())  # takes no position ids
    config = transformers.MambaConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, state_size=4
    )
    assert not isolated(transformers.MambaForCausalLM(config))  # has a state and no positions
