"""Methods that train some of a model's own parameters: which they are, and that they can be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ftune.errors import ModelError
from ftune.model import depth, heads


def train_only(model: Any, names: Sequence[str], method: str) -> Any:
    """``model`` with gradients for the parameters named and for a task's new head, for no other.

    Raises:
        ModelError: none is named, or one is quantized.
    """
    chosen = {*names, *heads.head_parameters(model)}
    if not chosen:
        raise ModelError(f"tune: {method} names nothing to train; name layers or a pattern")
    parameters = dict(model.named_parameters())
    packed = sorted(n for n in chosen if not parameters[n].is_floating_point())
    if packed:
        raise ModelError(
            f"tune.method: {method} would train {packed[0]} ({len(packed)} such weights), which is "
            "quantized and can't be changed by a step; leave out model.quantization, or take qlora"
        )
    model.requires_grad_(False)
    for name in chosen:
        parameters[name].requires_grad_(True)
    return model


def of_layers(model: Any, last: int, numbers: Sequence[int]) -> list[str]:
    """Names of the parameters of the last layers and of those with these numbers.

    Of an encoder-decoder the encoder's layers are counted first, so the last one is the decoder's.

    Raises:
        ModelError: there are not so many layers.
    """
    if not last and not numbers:
        return []
    stacks = depth.stacks(model)
    if not stacks:
        raise ModelError(
            f"tune.last_layers: {type(model).__name__} has no list of layers; use tune.pattern "
            "with last_layers: 0"
        )
    count = stacks[-1].first + stacks[-1].count
    wrong = [n for n in numbers if not -count <= n < count]
    if last > count or wrong:
        key, value = ("layers", wrong[0]) if wrong else ("last_layers", last)
        raise ModelError(
            f"tune.{key}: {value} names no layer: {type(model).__name__} has {count} here, "
            f"0 to {count - 1}"
        )
    chosen = {n % count for n in numbers} | set(range(count - last, count))
    named = [name for name, _ in model.named_parameters()]
    return [name for name in named if depth.place_of(name, stacks) in chosen]


def of_pattern(model: Any, pattern: str) -> list[str]:
    """Names of the parameters that a regular expression matches as a whole; none if it is empty.

    Raises:
        ModelError: it is no expression, or matches nothing; the message lists what there is.
    """
    if not pattern:
        return []
    names = [name for name, _ in model.named_parameters()]
    try:
        found = [name for name in names if re.fullmatch(pattern, name)]
    except re.error as error:
        raise ModelError(
            f"tune.pattern: {pattern!r} is not a regular expression: {error}"
        ) from error
    if not found:
        shapes = dict.fromkeys(re.sub(r"\.\d+\.", ".0.", name) for name in names)
        raise ModelError(
            f"tune.pattern: {pattern!r} matches no parameter of {type(model).__name__}; there are: "
            f"{', '.join(shapes)} (and so on, by layer)"
        )
    return found


def untie_head(model: Any) -> None:
    """Gives the head weights of its own, equal to the embedding's, where it shares them."""
    import torch

    head = model.get_output_embeddings()
    if head.weight is not model.get_input_embeddings().weight:
        return
    head.weight = torch.nn.Parameter(head.weight.detach().clone(), requires_grad=False)
    model.config.get_text_config().tie_word_embeddings = False
    model.config.tie_word_embeddings = False
    names = {name for name, p in model.named_parameters() if p is head.weight}
    # What transformers goes by when it saves.
    for name in names & set(model.all_tied_weights_keys):
        del model.all_tied_weights_keys[name]
