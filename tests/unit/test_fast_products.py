"""Products by oneDNN equal torch's own, and are chosen by the machine alone."""

from __future__ import annotations

import pytest
import torch

from ftune.fast import products
from ftune.fast.linear import LinearProduct
from ftune.fast.products import Products

WAYS = [Products(onednn=False), Products(onednn=True)]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bias", [True, False])
def test_linear_equals_torch_forward_and_backward(way, bias):
    x, weight = draw(2, 7, 12), draw(20, 12, seed=1)
    extra = draw(20, seed=2) if bias else None
    results = []
    for product in (torch.nn.functional.linear, lambda *a: LinearProduct.apply(*a, way)):
        leaves = [t.clone().requires_grad_() for t in (x, weight, extra) if t is not None]
        output = product(*leaves, *([] if bias else [None]))
        results.append((output, *torch.autograd.grad(output, leaves, draw(2, 7, 20, seed=3))))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shapes", [(3, 40), (40, 3)])
def test_over_rows_equals_torch(way, shapes):
    one, other = (draw(9, n, seed=n) for n in shapes)
    torch.testing.assert_close(way.over_rows(one, other), one.t() @ other)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_are_left_to_torch(dtype):
    x, weight = draw(3, 4).to(dtype), draw(5, 4).to(dtype)
    assert torch.equal(Products(onednn=True).linear(x, weight), x @ weight.t())


def test_nothing_to_multiply():
    assert Products(onednn=True).linear(draw(0, 4), draw(5, 4)).shape == (0, 5)


@pytest.mark.parametrize("vendor", ["", "GenuineIntel"])
def test_left_to_torch_where_it_is_as_fast_or_not_known(monkeypatch, vendor):
    monkeypatch.setattr(products, "_vendor", lambda: vendor)
    assert products.choose() == Products(onednn=False)


def test_chosen_for_wide_processors_of_others(monkeypatch):
    monkeypatch.setattr(products, "_vendor", lambda: "AuthenticAMD")
    for capability in ("AVX2", "AVX512"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda c=capability: c)
        wide = capability == "AVX512" and torch.backends.mkl.is_available()
        assert products.choose() == Products(onednn=wide)


def test_an_operator_that_went_away_is_not_asked(monkeypatch):
    def gone(*_):
        raise AttributeError("_linear_pointwise")

    monkeypatch.setattr(Products, "linear", gone)
    assert not products._agrees(Products(onednn=True))
