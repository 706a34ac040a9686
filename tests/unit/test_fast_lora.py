"""The fused LoRA layer equals PEFT's own: outputs, gradients and random numbers."""

from __future__ import annotations

import peft
import pytest
import torch

from ftune.fast import lora
from ftune.fast.products import Products


class Two(torch.nn.Module):
    def __init__(self, bias=False, dtype=torch.float32):
        super().__init__()
        self.first = torch.nn.Linear(12, 20, bias=bias, dtype=dtype)
        self.second = torch.nn.Linear(20, 8, bias=bias, dtype=dtype)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def adapted(bias=False, dtype=torch.float32, **options):
    torch.manual_seed(0)
    settings = {"r": 4, "lora_alpha": 6, "target_modules": ["first", "second"], **options}
    model = peft.get_peft_model(Two(bias, dtype), peft.LoraConfig(**settings))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.train()


def layers(model):
    return [m for m in model.modules() if isinstance(m, peft.tuners.lora.layer.Linear)]


def put_in(model, onednn=False):
    forwards = [lora.forward_of(layer, Products(onednn)) for layer in layers(model)]
    for layer, forward in zip(layers(model), forwards, strict=True):
        if forward:
            layer.forward = forward
    return [forward is not None for forward in forwards]


def tried(model, x):
    torch.manual_seed(5)
    leaf = x.clone().requires_grad_()
    output = model(leaf)
    parameters = [p for p in model.parameters() if p.requires_grad]
    grads = torch.autograd.grad(output.float().square().sum(), [leaf, *parameters])
    return [output, *grads, torch.get_rng_state()]


def assert_same(ones, others, bound):
    for one, other in zip(ones, others, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=bound, atol=bound)


@pytest.fixture
def fused(monkeypatch):
    """How often the fused function was called."""
    calls = []
    own = lora.LoraProduct.forward

    def counted(*arguments):
        calls.append(1)
        return own(*arguments)

    monkeypatch.setattr(lora.LoraProduct, "forward", counted)
    return calls


@pytest.mark.parametrize("onednn", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": True},
        {"use_rslora": True},
        {"lora_dropout": 0.4},
        {"dtype": torch.bfloat16},
        {"dtype": torch.bfloat16, "lora_dropout": 0.4},
    ],
    ids=str,
)
def test_equals_peft(options, onednn, fused):
    dtype = options.get("dtype", torch.float32)
    x = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(1)).to(dtype)
    model = adapted(**options)
    expected = tried(model, x)
    assert all(put_in(model, onednn))
    bound = 1e-5 if dtype == torch.float32 else 3e-2
    assert_same(tried(model, x), expected, bound)
    assert len(fused) == 2


def test_float64_to_the_last_digits(fused):
    model = adapted(lora_dropout=0.4).double()
    x = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(1)).double()
    expected = tried(model, x)
    put_in(model)
    assert_same(tried(model, x), expected, 1e-12)
    assert fused


def test_an_input_without_gradient_gets_none(fused):
    model = adapted()
    put_in(model)
    model(torch.randn(2, 12)).sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def _off(model):
    model.disable_adapter_layers()


def _merged(model):
    model.merge_adapter()


def _two(model):
    model.add_adapter("other", peft.LoraConfig(r=2, target_modules=["first", "second"]))
    model.base_model.set_adapter(["default", "other"])


def _base_trained(model):
    for layer in layers(model):
        layer.base_layer.weight.requires_grad_(True)


@pytest.mark.parametrize("change", [_off, _merged, _two, _base_trained])
def test_what_it_does_not_know_is_left_to_peft(change, fused):
    one, other = adapted(), adapted()
    put_in(other)
    change(one)
    change(other)
    x = torch.randn(3, 12)
    torch.testing.assert_close(other(x), one(x))
    assert not fused


@pytest.mark.parametrize("options", [{"use_dora": True}, {"lora_bias": True, "bias": True}])
def test_variants_are_left_to_peft(options, fused):
    settings = {k: v for k, v in options.items() if k != "bias"}
    if "lora_bias" in settings:
        settings["bias"] = False
        model = adapted(**{**settings, "bias": True})
    else:
        model = adapted(**settings)
    x = torch.randn(3, 12)
    expected = model(x)
    put_in(model)
    assert torch.equal(model(x), expected)
    assert not fused


def test_autocast_is_left_to_peft(fused):
    model = adapted()
    x = torch.randn(3, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = model(x)
        put_in(model)
        assert torch.equal(model(x), expected)
    assert not fused


def test_switching_off_and_merging_after_it_was_put_in():
    model = adapted()
    x = torch.randn(3, 12)
    plain = model(x)
    put_in(model)
    with model.disable_adapter():
        assert not torch.allclose(model(x), plain, atol=1e-3)
    torch.testing.assert_close(model.merge_and_unload()(x), plain, rtol=1e-5, atol=1e-5)


def test_layers_that_are_not_linear_are_not_taken():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(4, 4))
    model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["0", "1"]))
    taken = {
        type(m).__name__: lora.forward_of(m, Products()) is not None
        for m in model.modules()
        if hasattr(m, "lora_A")
    }
    assert taken == {"Embedding": False, "Linear": True}
