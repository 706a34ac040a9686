"""A line for each choice, behind what stands before all of them; the number of the right one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ftune.data.rules import Dropped
from ftune.data.wholes import Wholes
from ftune.errors import DataError
from ftune.types import Encoded, Labelled


def labels(example: Labelled, config: Any) -> Iterable[str]:  # noqa: ARG001
    """It tells no labels apart: each row has choices of its own."""
    return ()


def reference(example: Labelled, config: Any) -> tuple[str, ...]:  # noqa: ARG001
    """What is right to say: the right choice."""
    return (example.texts[1 + int(example.target)],)


def right(example: Labelled, config: Any) -> tuple[str, ...]:
    """The same, which an answer is compared with as a whole."""
    return reference(example, config)


def asked(
    example: Labelled,
    wholes: Wholes,  # noqa: ARG001
    config: Any,  # noqa: ARG001
) -> tuple[str, ...]:
    """The choices."""
    return example.texts[1:]


def reworded(example: Labelled, change: Callable[[str], str]) -> Labelled:
    """The row with what stands before its choices changed; the choices stay."""
    context, *choices = example.texts
    return replace(example, texts=(change(context), *choices))


def encode(
    examples: Sequence[Labelled],
    wholes: Wholes,
    known: Sequence[str],  # noqa: ARG001
    config: Any,  # noqa: ARG001
) -> list[Encoded | Dropped | DataError]:
    """The rows as ids, with the number of the right choice; an error in the row's place."""
    return [_one(example, wholes) for example in examples]


def _one(example: Labelled, wholes: Wholes) -> Encoded | Dropped | DataError:
    context, *choices = example.texts
    ids: list[int] = []
    kinds: list[int] = []
    lines, truncated = [], 0
    for choice in wholes.split(choices):
        try:
            fitted = wholes.fitted(wholes.split([context])[0], choice)
        except DataError as error:
            return error
        if isinstance(fitted, Dropped):
            return fitted
        whole, cut = fitted
        ids += whole.ids
        kinds += wholes.kinds(whole)
        lines.append(len(whole.ids))
        truncated += cut
    return Encoded(
        ids=ids,
        trained=[True] * len(ids),
        truncated=truncated,
        targets=[float(example.target)],
        count=1,
        kinds=kinds,
        lines=lines,
    )
