"""Head and cross-entropy in chunks equal logits, then cross-entropy."""

from __future__ import annotations

import pytest
import torch

from ftune.fast import head as fast_head
from ftune.fast.head import Head
from ftune.fast.products import Products

TARGETS, HIDDEN, VOCABULARY = 70, 12, 50


def case(bias, dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    module = torch.nn.Linear(HIDDEN, VOCABULARY, bias=bias).to(dtype)
    torch.nn.init.normal_(module.weight, generator=draw)
    hidden = torch.randn(TARGETS, HIDDEN, generator=draw).to(dtype).requires_grad_()
    labels = torch.randint(0, VOCABULARY, (TARGETS,), generator=draw)
    return module, hidden, labels


def both(module, hidden, labels, products):
    leaves = [t for t in (hidden, *module.parameters()) if t.requires_grad]
    plain = torch.nn.functional.cross_entropy(module(hidden).float(), labels, reduction="sum")
    if hidden.dtype == torch.float64:
        plain = torch.nn.functional.cross_entropy(module(hidden), labels, reduction="sum")
    fast = Head(module, products).loss(hidden, labels)
    return [[loss, *torch.autograd.grad(loss * 0.3, leaves)] for loss in (plain, fast)]


@pytest.mark.parametrize("products", [Products(), Products(onednn=True)])
@pytest.mark.parametrize("chunk", [16, 10_000])
@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_logits_then_cross_entropy(monkeypatch, bias, trained, chunk, products):
    monkeypatch.setattr(fast_head, "CPU_BYTES", 4 * VOCABULARY * chunk)
    module, hidden, labels = case(bias)
    module.requires_grad_(trained)
    plain, fast = both(module, hidden, labels, products)
    for one, other in zip(plain, fast, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5)


def test_in_float64_to_the_last_digits():
    plain, fast = both(*case(True, torch.float64), Products())
    for one, other in zip(plain, fast, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-12, atol=1e-12)


def test_in_bfloat16_as_far_as_that_goes():
    plain, fast = both(*case(False, torch.bfloat16), Products())
    assert float(fast[0].detach()) == pytest.approx(float(plain[0].detach()), rel=1e-4)
    for one, other in zip(plain[1:], fast[1:], strict=True):
        torch.testing.assert_close(other, one, rtol=2e-2, atol=5e-2)


def test_a_target_that_is_all_but_impossible():
    module, hidden, _ = case(False)
    with torch.no_grad():
        module.weight.mul_(200)  # differences of logits far beyond what exp can hold
    labels = module(hidden).argmin(-1).detach()
    plain, fast = both(module, hidden, labels, Products())
    assert torch.isfinite(fast[0])
    torch.testing.assert_close(fast[0], plain[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(fast[1], plain[1], rtol=1e-5, atol=1e-3)


def test_no_more_than_a_chunk_of_logits_is_made(monkeypatch):
    seen = []
    own = Products.linear

    def watched(self, x, weight, bias=None):
        seen.append((x.shape[0], weight.shape[0]))
        return own(self, x, weight, bias)

    monkeypatch.setattr(Products, "linear", watched)
    monkeypatch.setattr(fast_head, "CPU_BYTES", 4 * VOCABULARY * 16)
    module, hidden, labels = case(False)
    module.requires_grad_(False)
    Head(module, Products()).loss(hidden, labels).backward()
    assert max(rows for rows, columns in seen if columns == VOCABULARY) == 16


def test_no_gradient_is_made_where_none_is_asked_for(monkeypatch):
    def never(*_):
        raise AssertionError("a gradient was made")

    monkeypatch.setattr(Products, "times", never)
    monkeypatch.setattr(Products, "over_rows", never)
    module, hidden, labels = case(False)
    with torch.no_grad():
        loss = Head(module, Products()).loss(hidden, labels)
    assert not loss.requires_grad


def test_where_it_is_not_right():
    module, *_ = case(True)
    assert Head(module, Products()).usable()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not Head(module, Products()).usable()
    assert not Head(module.half(), Products()).usable()
