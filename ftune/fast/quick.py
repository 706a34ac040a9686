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
    """What was found out about a model, and how many of its modules go the fast way, by kind."""

    head: Head | None = None
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
        for module, forward in _again(model):
            module.forward = forward  # type: ignore[method-assign]
            replaced.append(module)
            counts["recompute"] = counts.get("recompute", 0) + 1
        paths = Paths(_head(model, chosen), not trials.ignores_what_follows(model), counts)
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
    last = next(reversed(recompute.blocks(model)), None)
    if last is None or "forward" in last.__dict__ or not trials.reads_the_first(model, last):
        return
    if first := encoder.first_of(last):
        if trials.same_logits(model, partial(setattr, last, "forward", first)):
            yield "first token", last, first
        else:
            del last.forward


def _body(model: Any) -> Any:
    """The pre-trained part: what a head drops is drawn as without fast paths."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return getattr(inner, inner.base_model_prefix, inner)


def _again(model: Any) -> list[tuple[torch.nn.Module, Callable[..., Any]]]:
    """Blocks that may be made again, and how; on a CPU only, whose memory is the machine's own."""
    found = [m for m in recompute.blocks(model) if "forward" not in m.__dict__]
    on_cpu = all(p.device.type == "cpu" for p in model.parameters())
    if on_cpu:
        allocation.tight()
    size = trials.bytes_kept(model) / len(found) if found and on_cpu else 0.0
    if not size:
        return []
    return [
        (module, recompute.forward_of(module, at, len(found), size, recompute.bound(model)))
        for at, module in enumerate(found)
    ]


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
