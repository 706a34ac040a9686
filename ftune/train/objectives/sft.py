"""Predict the next token, on the tokens that are trained (supervised fine-tuning)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ftune.errors import ModelError
from ftune.recipe.base import Section
from ftune.types import Batch, LossSum

CHUNK = 1024  # positions whose logits are widened to 32 bits at once


class Config(Section):
    """It has no options."""


def loss(model: Any, batch: Batch, config: Config) -> LossSum:  # noqa: ARG001
    """Sum of the cross-entropy in nats over the batch's targets, with gradient.

    The output head is applied to the positions before a target only, so the array of logits is
    (1, targets, vocabulary) and never (batch, length, vocabulary). Where the model's logits are
    known to be its head's product and no more, there are those of a few targets at a time only.

    Raises:
        ModelError: the model's output head can't be reached this way.
    """
    head = _paths(model).head
    if head is not None and batch.count and head.usable():
        hidden, labels = target_states(model, batch)
        return LossSum(total=head.loss(hidden, labels), count=batch.count)
    logits, labels = target_logits(model, batch)
    return LossSum(total=cross_entropy(logits, labels), count=batch.count)


def target_logits(model: Any, batch: Batch) -> tuple[Any, Any]:
    """Logits (targets, vocabulary) of what stands before each target, and the targets' ids."""
    keep, labels = _targets(batch)

    def select(hidden: Any) -> Any:
        return hidden[:, -keep.shape[1] :][keep].unsqueeze(0)

    with _head_sees(model, select):
        logits = _call(model, batch).logits
    if logits.shape[:-1] != (1, batch.count):
        raise ModelError(
            f"{type(_inner(model)).__name__}: its output head gave logits of shape "
            f"{tuple(logits.shape)} instead of (1, {batch.count}, vocabulary); "
            "ftune can't train this architecture"
        )
    return logits[0], labels


def target_states(model: Any, batch: Batch) -> tuple[Any, Any]:
    """Hidden states (targets, hidden) before each target, and the targets' ids.

    The model's own head is run on none of them.
    """
    keep, labels = _targets(batch)
    taken = []

    def take(hidden: Any) -> Any:
        taken.append(hidden[:, -keep.shape[1] :][keep])
        return hidden[:, :0]

    with _head_sees(model, take):
        _call(model, batch)
    return taken[0], labels


def _targets(batch: Batch) -> tuple[Any, Any]:
    """Where (batch, length) something is predicted that counts, and its ids (targets)."""
    import torch

    labels = batch.labels[:, 1:]
    trained = labels != -100
    # The last position predicts nothing.
    return torch.nn.functional.pad(trained, (0, 1), value=False), labels[trained]


def _call(model: Any, batch: Batch) -> Any:
    """The model's output.

    Rows without padding mask are packed; positions say where examples begin. Elsewhere they are
    what the model counts itself, and prompt tuning takes none. Padding stands on the right, so a
    model that looks back only needs no mask for it.
    """
    if batch.attention_mask is None:
        return model(
            input_ids=batch.input_ids,
            attention_mask=None,
            use_cache=False,
            position_ids=batch.position_ids,
        )
    from ftune.train.tasked import task_ids

    mask = batch.attention_mask if _paths(model).needs_padding_mask else None
    given = {"input_ids": batch.input_ids, "attention_mask": mask, **task_ids(batch)}
    return model(**given, use_cache=False)


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Sum over (targets, vocabulary), a chunk at a time; 0 with gradient for no target.

    In 32 bits, or in 64 if the logits are.
    """
    import torch

    wide = torch.promote_types(logits.dtype, torch.float32)
    total = logits[:0].to(wide).sum()
    for part, ids in zip(logits.split(CHUNK), labels.split(CHUNK), strict=True):
        total = total + torch.nn.functional.cross_entropy(part.to(wide), ids, reduction="sum")
    return total


def _paths(model: Any) -> Any:
    """What is known of the model that a wrapper may stand around; see ``ftune.fast.quick``."""
    from ftune.fast import quick

    return quick.paths_of(_inner(model))


def _inner(model: Any) -> Any:
    """Without the wrapper that several processes put around a model."""
    return getattr(model, "module", model)


@contextmanager
def _head_sees(model: Any, select: Callable[[Any], Any]) -> Iterator[None]:
    """While inside, the output head is given ``select(hidden)``, of (batch, length, hidden).

    Hidden states may be longer than the batch (virtual tokens stand in front), so positions are
    counted from the right. The module hooked is the one that the model calls as its head, whatever
    was put around or behind it: LoRA on the head, modules to save, soft-capped or scaled logits.
    """
    head = _inner(model).get_output_embeddings()
    if head is None:
        raise ModelError(f"{type(_inner(model)).__name__} has no output head; use a causal model")

    def hook(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (select(args[0]), *args[1:])

    handle = head.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()
