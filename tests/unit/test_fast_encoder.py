"""Encoders go the fast way with the same loss and gradients, and drop what they are told to."""

from __future__ import annotations

import peft
import pytest
import torch
import transformers

from ftune.fast import attention, drawing, products, trials
from ftune.fast.quick import quick

SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
    "num_labels": 3,
    "pad_token_id": 0,
}
DISTIL = {"vocab_size": 61, "dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4}
FAMILIES = {
    "Bert": (SIZES, "query"),
    "Roberta": (SIZES, "query"),
    "Electra": ({**SIZES, "embedding_size": 32}, "query"),
    "DistilBert": ({**DISTIL, "num_labels": 3}, "q_lin"),
}
NO_DROPOUT = dict.fromkeys(
    (
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "dropout",
        "attention_dropout",
        "seq_classif_dropout",
        "classifier_dropout",
    ),
    0.0,
)


def made(family, head="SequenceClassification", tuning="lora", **options):
    torch.manual_seed(0)
    sizes, query = FAMILIES[family]
    config = getattr(transformers, f"{family}Config")(**{**sizes, **options})
    model = getattr(transformers, f"{family}For{head}")(config)
    if tuning == "full":
        return model.train()
    named = peft.LoraConfig(r=4, target_modules=[query], modules_to_save=["classifier"])
    model = peft.get_peft_model(model, named)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.train()


def lines():
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 61, (4, 11), generator=draw)
    mask = torch.ones_like(ids)
    for row, length in enumerate((11, 4, 7, 2)):
        mask[row, length:] = 0
    return ids * mask, mask


def taken(model, ids, mask):
    model.zero_grad()
    torch.manual_seed(3)
    logits = model(input_ids=ids, attention_mask=mask).logits
    if logits.dim() == 3:
        logits = logits[mask.bool()] if mask.dim() == 2 else logits.flatten(0, 1)
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 3)
    loss.backward()
    return loss.detach(), {
        n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None
    }


def assert_same(one, other):
    torch.testing.assert_close(one[0], other[0], rtol=1e-5, atol=0)
    assert one[1].keys() == other[1].keys()
    largest = max(float(g.abs().max()) for g in one[1].values())
    for name, gradient in one[1].items():
        torch.testing.assert_close(other[1][name], gradient, rtol=1e-4, atol=1e-5 * largest)


@pytest.mark.parametrize("tuning", ["lora", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_same_without_dropout(family, tuning):
    """The first token alone behind the last block."""
    model = made(family, tuning=tuning, **NO_DROPOUT)
    ids, mask = lines()
    for given in ((ids, mask), (ids, torch.ones_like(mask))):
        plain = taken(model, *given)
        with quick(model) as paths:
            assert {"attention", "first token"} <= paths.modules.keys()
            assert_same(plain, taken(model, *given))


KEPT = torch.rand(64, generator=torch.Generator().manual_seed(2)) >= 0.1


@pytest.fixture
def same_dropped(monkeypatch):
    """Plain and fast alike drop what the place in the last dimension says, in any order of rows."""

    def dropout(x, p=0.5, training=True, inplace=False):
        return x * KEPT[: x.shape[-1]] / (1.0 - p) if training and p else x

    monkeypatch.setattr(torch.nn.functional, "dropout", dropout)
    monkeypatch.setattr(drawing, "kept", lambda shape, p: KEPT[: shape[-1]].expand(shape).clone())
    monkeypatch.setattr(drawing, "share_of", lambda p: 1.0 - p)
    monkeypatch.setattr(products, "slow_dropout", lambda: True)


@pytest.mark.usefixtures("same_dropped")
@pytest.mark.parametrize("tuning", ["lora", "full"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("head", "first"), [("TokenClassification", False), ("SequenceClassification", True)]
)
def test_same_with_dropout_where_the_same_is_dropped(family, tuning, head, first):
    """torch's own attention with dropout is one of C++: the plain side takes the eager one."""
    plain = made(family, head, tuning=tuning, attn_implementation="eager")
    fast = made(family, head, tuning=tuning)
    ids, mask = lines()
    with quick(fast) as paths:
        assert {"attention", "dropout", "no padding"} <= paths.modules.keys()
        assert ("first token" in paths.modules) == first
        for given in ((ids, mask), (ids, torch.ones_like(mask))):
            assert_same(taken(plain, *given), taken(fast, *given))


@pytest.mark.parametrize("tuning", ["lora", "full"])
@pytest.mark.parametrize("most", [1, 100, 1 << 18])
def test_rows_in_any_tiles_give_the_same(monkeypatch, tuning, most):
    monkeypatch.setattr(attention, "ELEMENTS", most)
    model = made("Bert", "TokenClassification", tuning=tuning, **NO_DROPOUT)
    plain = taken(model, *lines())
    with quick(model):
        assert_same(plain, taken(model, *lines()))


@pytest.mark.parametrize("first", [False, True])
def test_other_kinds_of_numbers_are_torchs_own_to_attend(first):
    head = "SequenceClassification" if first else "TokenClassification"
    model = made("Bert", head, **NO_DROPOUT).double()
    plain = taken(model, *lines())
    with quick(model) as paths:
        assert "no padding" in paths.modules and ("first token" in paths.modules) == first
        assert_same(plain, taken(model, *lines()))


def test_padding_goes_through_no_block():
    model, (ids, mask) = made("Bert", "TokenClassification", **NO_DROPOUT), lines()
    seen = []
    for block in model.get_base_model().bert.encoder.layer:
        block.intermediate.register_forward_hook(lambda _, __, out: seen.append(out.shape[:2]))
    with quick(model):
        seen.clear()
        model(input_ids=ids, attention_mask=mask)
        model.eval()
        model(input_ids=ids, attention_mask=mask)
    assert seen == [(1, 24), (1, 24), (4, 11), (4, 11)]


@pytest.mark.parametrize("hidden", ["left", "row"])
def test_a_batch_of_another_shape_goes_the_modules_own_way(hidden):
    """Padding on the left, and a mask over pairs of tokens."""
    model, (ids, mask) = made("Bert", "TokenClassification", **NO_DROPOUT), lines()
    if hidden == "left":
        ids, mask = ids.flip(1), mask.flip(1)
    else:
        mask = torch.ones(4, 1, 11, 11, dtype=torch.bool).tril()
    plain = taken(model, ids, mask)
    with quick(model) as paths:
        assert "no padding" in paths.modules
        assert_same(plain, taken(model, ids, mask))


def test_of_a_head_that_reads_padding_the_padding_stays():
    """transformers lets a place of padding be an answer's."""
    model = made("Bert", "QuestionAnswering", tuning="full", **NO_DROPOUT)
    with quick(model) as paths:
        assert "attention" in paths.modules and "no padding" not in paths.modules


@pytest.mark.parametrize("p", [0.003, 0.02, 0.1, 0.3, 0.5, 0.99])
def test_the_right_share_is_drawn_and_neighbours_know_nothing_of_each_other(p):
    torch.manual_seed(0)
    drawn = torch.stack([drawing.kept((40, 10, 5), p) for _ in range(1000)])
    assert drawn.dtype == torch.int8 and drawn.unique().tolist() == [0, 1]
    flat = drawn.flatten(1).double()
    wrong = float(flat.mean()) - drawing.share_of(p)
    between = 0.25 / 256**2 / len(drawn)  # of the chances that calls have
    assert abs(wrong) < 4 * (p * (1 - p) / flat.numel() + between) ** 0.5
    flat -= flat.mean()
    for apart in (1, 2, 3, 4, 7, 8, 9):  # eight numbers come of one draw
        along = float((flat[:, apart:] * flat[:, :-apart]).mean()) / (p * (1 - p))
        assert abs(along) < 4 / flat.numel() ** 0.5 + 0.25 / 256**2 / (p * (1 - p))
    calls = flat.mean(1)  # which differ by little more than chance
    assert float(calls.var()) < 1.2 * (p * (1 - p) / flat.shape[1] + 0.25 / 256**2)
    assert abs(drawing.share_of(0.1) - 0.9) < 1e-5


def test_the_same_seed_drops_the_same():
    model, given = made("Bert"), lines()
    with quick(model):
        one, other = taken(model, *given), taken(model, *given)
        torch.manual_seed(4)
        third = model(input_ids=given[0], attention_mask=given[1]).logits
        again = model(input_ids=given[0], attention_mask=given[1]).logits
    assert torch.equal(one[0], other[0])
    assert all(torch.equal(g, other[1][n]) for n, g in one[1].items())
    assert not torch.equal(third, again)


def test_the_last_block_runs_for_the_first_token_alone():
    model, (ids, mask) = made("Bert", **NO_DROPOUT), lines()
    seen = []
    last = model.get_base_model().bert.encoder.layer[-1].intermediate
    last.register_forward_hook(lambda _, __, out: seen.append(out.shape[:2]))
    with quick(model):
        seen.clear()
        model(input_ids=ids, attention_mask=mask)
        model.eval()
        model(input_ids=ids, attention_mask=mask)
    model(input_ids=ids, attention_mask=mask)
    assert seen == [(1, 4), (4, 1), (4, 11)]


class Mean(torch.nn.Module):
    """Pools all tokens, as sentence encoders do."""

    def forward(self, hidden):
        return hidden.mean(1)


def test_a_mean_over_all_tokens_keeps_them_all():
    model = made("Bert", tuning="full", **NO_DROPOUT)
    model.bert.pooler = Mean()
    assert not trials.reads_the_first(model, model.bert.encoder.layer[-1])
    with quick(model) as paths:
        assert "first token" not in paths.modules


def test_the_model_comes_back_as_it_was():
    model = made("Bert")
    before = {n: (set(m.__dict__), m.training) for n, m in model.named_modules()}
    state = torch.get_rng_state()
    with quick(model):
        pass
    assert torch.equal(torch.get_rng_state(), state)
    assert {n: (set(m.__dict__), m.training) for n, m in model.named_modules()} == before


def test_eager_attention_is_left_alone():
    model = made("Bert", attn_implementation="eager")
    with quick(model) as paths:
        assert not {"attention", "first token", "dropout"} & paths.modules.keys()
