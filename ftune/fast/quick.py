"""Puts fast paths into a model for as long as it is trained, where they are known to be right.

A module keeps its class, its parameters and its place; only its ``forward`` is another inside.
So saving, loading, merging and switching adapters off see the model that they know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from ftune import environment
from ftune.fast import (
    allocation,
    compiled,
    drawing,
    encoder,
    gated,
    linear,
    lora,
    norm,
    products,
    recompute,
    trials,
)
from ftune.fast.head import Head

MARK = "_ftune_paths"  # the attribute of a model under which an objective finds its ``Paths``


@dataclass(frozen=True)
class Paths:
    """What was found out about a model, and how many of its modules go the fast way, by kind.

    ``most_tokens``, padding included, are as many as are to go through it at once; 0: any.
    """

    head: Head | None = None
    most_tokens: int = 0
    needs_padding_mask: bool = True
    modules: dict[str, int] = field(default_factory=dict)


def paths_of(model: Any) -> Paths:
    """What is known of a model; nothing, if it is not inside ``quick``."""
    return getattr(model, MARK, None) or Paths()


@contextmanager
def quick(model: Any, compile_layers: bool = False) -> Iterator[Paths]:
    """The model with fast paths while inside; FTUNE_PLAIN=1 leaves it as it is.

    With ``compile_layers`` its layers are compiled, and no other path is taken inside of them.
    """
    if environment.plain() or MARK in model.__dict__:
        yield paths_of(model)
        return
    chosen = products.choose()
    replaced: list[torch.nn.Module] = []
    counts: dict[str, int] = {}
    layers = recompute.blocks(model) if compile_layers else []
    inside = {id(part) for layer in layers for part in layer.modules()}
    try:
        for layer in layers:
            layer.forward = compiled.forward_of(layer)  # type: ignore[method-assign]
            replaced.append(layer)
            counts["compiled"] = counts.get("compiled", 0) + 1
        for kind, module, forward in _found(model, chosen, inside):
            module.forward = forward  # type: ignore[method-assign]
            replaced.append(module)
            counts[kind] = counts.get(kind, 0) + 1
        for kind, module, forward in _encoders(model, counts):
            module.forward = forward  # type: ignore[method-assign]
            replaced.append(module)
            counts[kind] = counts.get(kind, 0) + 1
        size = _bytes_a_token(model)
        for module, forward in _again(model, size):
            module.forward = forward  # type: ignore[method-assign]
            replaced.append(module)
            counts["recompute"] = counts.get("recompute", 0) + 1
        paths = Paths(
            head=_head(model, chosen),
            most_tokens=max(1, int(recompute.KEPT_BYTES / size)) if size else 0,
            needs_padding_mask=not trials.ignores_what_follows(model),
            modules=counts,
        )
        setattr(model, MARK, paths)
        yield paths
    finally:
        model.__dict__.pop(MARK, None)
        for module in replaced:
            module.__dict__.pop("forward", None)


@contextmanager
def untouched(model: Any) -> Iterator[Paths]:
    """The model as it is: ``quick`` inside of it takes no path."""
    paths = Paths()
    setattr(model, MARK, paths)
    try:
        yield paths
    finally:
        model.__dict__.pop(MARK, None)


def _found(
    model: Any, chosen: products.Products, left_out: set[int]
) -> Iterator[tuple[str, torch.nn.Module, Callable[..., Any]]]:
    """Modules with another forward; of those that have to be tried, one of each kind is tried."""
    tried: dict[tuple[Any, ...], bool] = {}
    for module in list(model.modules()):
        if "forward" in module.__dict__ or id(module) in left_out:
            continue  # someone else's, which ours would hide
        if forward := lora.forward_of(module, chosen):
            yield "lora", module, forward
        elif forward := linear.forward_of(module, chosen):
            yield "linear", module, forward
        elif forward := norm.forward_of(module):
            if _same(tried, module, forward, int(module.weight.shape[0])):
                yield "norm", module, forward
        elif (forward := gated.forward_of(module, chosen)) and _same(
            tried, module, forward, _input_width(module.gate_proj)
        ):
            yield "gated", module, forward
        elif (forward := encoder.attention_of(module)) and _same(
            tried, module, forward, encoder.width(module), encoder.both(module)
        ):
            yield "attention", module, forward


def _encoders(
    model: Any, counts: dict[str, int]
) -> Iterator[tuple[str, torch.nn.Module, Callable[..., Any]]]:
    """What is known of encoders alone, where the attention of one was taken."""
    if not counts.get("attention"):
        return
    if products.slow_dropout():
        # An adapter's own draws as PEFT has it; that of a taken attention is drawn there.
        others = [m for m in model.modules() if lora.known(m) or encoder.known(m)]
        adapters = {id(x) for m in others for x in m.modules()}
        for module in _body(model).modules():
            if "forward" in module.__dict__ or id(module) in adapters:
                continue
            if forward := drawing.forward_of(module):
                yield "dropout", module, forward
    yield from _blocks(model, counts["attention"])


def _blocks(
    model: Any, attentions: int
) -> Iterator[tuple[str, torch.nn.Module, Callable[..., Any]]]:
    """Batches without padding, and the last block for the first token alone."""
    found = recompute.blocks(model)
    stack = encoder.stack_of(found, model)
    if stack is None or "forward" in stack.__dict__ or len(found) != attentions:
        return
    if any("forward" in block.__dict__ for block in found):
        return
    line, last = encoder.Line(), found[-1]
    forward = encoder.without_padding(stack, line)
    with encoder.tried(line):
        if not trials.same_logits(model, partial(setattr, stack, "forward", forward)):
            del stack.forward
            return
    yield "no padding", stack, forward
    first = encoder.first_of(last) if trials.reads_the_first(model, last) else None
    if first is None:
        return

    def take() -> None:
        last.forward, line.first = first, True  # type: ignore[method-assign, assignment]

    def leave() -> None:
        last.__dict__.pop("forward", None)
        line.first = False

    padded = trials.same_logits(model, take)
    leave()
    with encoder.tried(line):
        if padded and trials.same_logits(model, take):
            yield "first token", last, first
        else:
            leave()


def _body(model: Any) -> Any:
    """The pre-trained part: what a head drops is drawn as without fast paths."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return getattr(inner, inner.base_model_prefix, inner)


def _bytes_a_token(model: Any) -> float:
    """What a token leaves for the backward pass; 0 where it does not count, or is not known.

    On a CPU only, whose memory is the machine's own.
    """
    if not all(p.device.type == "cpu" for p in model.parameters()):
        return 0.0
    allocation.kept()
    return trials.bytes_kept(model)


def _again(model: Any, size: float) -> list[tuple[torch.nn.Module, Callable[..., Any]]]:
    """Blocks that may be made again, and how, where a token keeps ``size`` bytes."""
    found = [m for m in recompute.blocks(model) if "forward" not in m.__dict__]
    if not found or not size:
        return []
    each = size / len(found)
    return [(m, recompute.forward_of(m, at, len(found), each)) for at, m in enumerate(found)]


def _same(
    tried: dict[tuple[Any, ...], bool],
    module: torch.nn.Module,
    forward: Callable[..., Any],
    width: int,
    both: tuple[Callable[..., Any], Callable[..., Any]] | None = None,
) -> bool:
    """Whether two forwards of a module, by default its own and this one, are equal when tried."""
    key = (type(module), width, next(module.parameters()).dtype, _settings(module))
    if key not in tried:
        with trials.still(module):
            # An attention turns large numbers' last digits into other shares.
            spreads = (0.1, 1.0) if both else trials.SPREADS
            pair = both or (module.forward, forward)
            tried[key] = trials.same_step(*pair, module, width, spreads)
    return tried[key]


def _settings(module: torch.nn.Module) -> tuple[Any, ...]:
    """Plain attributes that may tell one module from another of its class."""
    plain = (bool, int, float, str)
    return tuple(sorted((k, v) for k, v in vars(module).items() if isinstance(v, plain)))


def _input_width(module: Any) -> int:
    return int(getattr(module, "in_features", 0))


def _head(model: Any, chosen: products.Products) -> Head | None:
    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear or head._forward_hooks or head._forward_pre_hooks:
        return None
    return Head(head, chosen) if trials.logits_are_the_heads(model, head) else None
