"""What is found out about a model by trying it on a few tokens, before a fast path is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

LENGTH, PADDED = 8, 3  # tokens of a line, and how many of the second line are padding
SPREADS = (1.0, 30.0)  # of the inputs tried: a bound or a cap shows with large numbers


def same_step(
    own: Callable[..., Any],
    fast: Callable[..., Any],
    module: torch.nn.Module,
    width: int,
    spreads: tuple[float, ...] = SPREADS,
) -> bool:
    """Whether two forwards of a module give equal outputs and input gradients, to rounding.

    ``width`` is the last dimension of the input. Weights get no gradient from it.
    """
    weight = next(module.parameters())
    kind = weight.dtype if weight.is_floating_point() else torch.float32  # else it is quantized
    draw = torch.Generator().manual_seed(0)
    for spread in spreads:
        x = torch.randn(2, 3, width, generator=draw) * spread
        given = torch.randn(2, 3, width, generator=draw)
        tried = []
        for forward in (own, fast):
            leaf = x.to(weight.device, kind).requires_grad_()
            try:
                output = forward(leaf)
                tried.append(
                    (
                        output,
                        *torch.autograd.grad(output, leaf, given.to(output.device, output.dtype)),
                    )
                )
            except (RuntimeError, TypeError, AttributeError):
                return False
        if not all(alike(a, b) for a, b in zip(*tried, strict=True)):
            return False
    return True


def alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors differ by rounding only, measured by the largest number in them."""
    bound = 1e-5 if one.dtype in (torch.float32, torch.float64) else 2e-2
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    difference = (one - other).float().abs().max()
    return bool(difference <= bound * other.float().abs().max().clamp(min=1e-6))


@torch.no_grad()
def logits_are_the_heads(model: Any, head: torch.nn.Linear) -> bool:
    """Whether the model gives the head's product on, unscaled, uncapped and whole.

    The head is fed large drawn numbers, so that a cap would show.
    """
    fed: list[torch.Tensor] = []
    draw = torch.Generator().manual_seed(0)

    def feed(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        drawn = torch.randn(args[0].shape, generator=draw) * 30
        fed.append(drawn.to(args[0].device, args[0].dtype))
        return (fed[-1], *args[1:])

    handle = head.register_forward_pre_hook(feed)
    try:
        logits = _run(model, _lines(model), None)
    finally:
        handle.remove()
    if logits is None or len(fed) != 1:
        return False
    wanted = torch.nn.functional.linear(fed[0], head.weight, head.bias)
    return bool(wanted.any()) and alike(logits, wanted)


@torch.no_grad()
def ignores_what_follows(model: Any) -> bool:
    """Whether padding on the right changes nothing before it, with or without a mask."""
    lines = _lines(model)
    mask = torch.ones_like(lines)
    mask[1, LENGTH - PADDED :] = 0
    other = lines.clone()
    other[1, LENGTH - PADDED :] += 1
    tried = [_run(model, lines, mask), _run(model, lines, None), _run(model, other, None)]
    real = mask.bool()
    if any(t is None or t.dim() < 3 for t in tried):  # logits of a whole line: it may pool anywhere
        return False
    seen = [t[:, -LENGTH:][real] for t in tried if t is not None]
    return all(alike(one, seen[0]) for one in seen)


def reads_the_first(model: Any, block: torch.nn.Module) -> bool:
    """Whether the logits, one line of them a text, follow from a block's first position alone.

    Their gradient says so: it is nothing at all other positions, and something at the first.
    """
    given: list[torch.Tensor] = []

    def cut(_: Any, __: Any, out: Any) -> Any:
        if isinstance(out, torch.Tensor):
            given.append(out.detach().requires_grad_())
            return given[-1]
        return out

    handle = block.register_forward_hook(cut)
    try:
        with torch.enable_grad():
            logits = _run(model, _lines(model), None)
    finally:
        handle.remove()
    if logits is None or logits.shape[:-1] != (2,) or len(given) != 1 or not logits.requires_grad:
        return False
    weights = torch.arange(1.0, logits.numel() + 1, device=logits.device).view(logits.shape)
    (gradient,) = torch.autograd.grad(logits, given[0], weights.to(logits.dtype), allow_unused=True)
    if gradient is None or gradient.dim() != 3:
        return False
    return bool(gradient[:, 0].any(-1).all()) and not bool(gradient[:, 1:].any())


def fields_read(model: Any, body: torch.nn.Module) -> dict[str, bool] | None:
    """What the head reads of the body's output: of each field whether it is read.

    None where it reads more of a text than one line of numbers: the pooled one or its first token.
    """
    given: dict[str, torch.Tensor] = {}

    def cut(_: Any, __: Any, out: Any) -> Any:
        for name, value in out.items():
            if isinstance(value, torch.Tensor):
                out[name] = given[name] = value.detach().requires_grad_()
        return out

    handle = body.register_forward_hook(cut)
    try:
        with torch.enable_grad():
            logits = _run(model, _lines(model), None)
    except AttributeError:  # not an output with names
        return None
    finally:
        handle.remove()
    if logits is None or logits.shape[:-1] != (2,) or not given:
        return None
    weights = torch.arange(1.0, logits.numel() + 1, device=logits.device).view(logits.shape)
    asked = torch.autograd.grad(
        logits, list(given.values()), weights.to(logits.dtype), allow_unused=True
    )
    found = {}
    for name, gradient in zip(given, asked, strict=True):
        found[name] = gradient is not None and bool(gradient.any())
        if found[name] and (given[name].shape[0] != 2 or gradient.dim() not in (2, 3)):
            return None
        if found[name] and gradient.dim() == 3 and bool(gradient[:, 1:].any()):
            return None
    return found if any(found.values()) else None


@torch.no_grad()
def same_logits(model: Any, change: Callable[[], Any]) -> bool:
    """Whether a change leaves the logits of two lines, one of them padded, as they are.

    Those of padding don't count, where each token has a line of logits.
    """
    lines = _lines(model)
    mask = torch.ones_like(lines)
    mask[1, LENGTH - PADDED :] = 0
    tried = [_run(model, lines, mask)]
    change()
    tried.append(_run(model, lines, mask))
    real = mask.bool()  # virtual tokens stand before it
    before, after = (x[:, -LENGTH:][real] if x is not None and x.dim() == 3 else x for x in tried)
    return before is not None and after is not None and alike(after, before)


def bytes_kept(model: Any) -> float:
    """Bytes that a token's forward pass leaves for the backward pass, weights not counted.

    Of short lines: what grows with the square of the length is not in it. 0 where it can't be run.
    """
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        at = tensor.untyped_storage().data_ptr()
        if at not in known:
            kept[at] = tensor  # held, so that no other gets its place
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        logits = _run(model, _lines(model), None)
    size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    return 0.0 if logits is None else size / (2 * LENGTH)


def _lines(model: Any) -> torch.Tensor:
    """Two different lines of token ids, on the model's device."""
    device = model.get_input_embeddings().weight.device
    return torch.arange(2 * LENGTH, device=device).view(2, LENGTH) % _vocabulary(model)


def _vocabulary(model: Any) -> int:
    return int(model.get_input_embeddings().weight.shape[0]) - 1


def _run(model: Any, lines: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor | None:
    with still(model):
        try:
            told = model(input_ids=lines, attention_mask=mask, use_cache=False)
            return told.logits if "logits" in told else told.start_logits
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):
            return None


@contextmanager
def still(model: torch.nn.Module) -> Iterator[None]:
    """Without dropout while inside; each module is in its own mode again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
