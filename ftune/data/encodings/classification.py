"""One number for each text: that of its label; or a 0 or 1 for each label there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ftune.data.labels import index
from ftune.data.rules import Dropped
from ftune.data.wholes import Wholes
from ftune.errors import DataError
from ftune.types import Encoded, Labelled


def labels(example: Labelled, config: Any) -> Iterable[str]:
    """The labels that the row has.

    Raises:
        DataError: it has a list of them, and one is wanted, or the other way round.
    """
    many = isinstance(example.target, tuple)
    if many and not config.multi_label:
        raise DataError(
            "its label is a list; set multi_label: true (train.objective: {classification: "
            "{multi_label: true}}), or give each row one label"
        )
    if not many and config.multi_label:
        raise DataError("its label is no list, and multi_label is true; write a list, even of one")
    return example.target if many else (example.target,)


def reference(example: Labelled, config: Any) -> tuple[str, ...]:
    """What is right to say: the label, or all labels in order."""
    return (", ".join(right(example, config)),)


def right(example: Labelled, config: Any) -> tuple[str, ...]:
    """The labels themselves, which an answer is compared with."""
    return tuple(sorted(set(labels(example, config))))


def asked(example: Labelled, wholes: Wholes, config: Any) -> None:
    """An answer needs to know nothing more of the row."""


def reworded(example: Labelled, change: Callable[[str], str]) -> Labelled:
    """The row with its text changed, or both texts of a pair; the label stays."""
    return replace(example, texts=tuple(map(change, example.texts)))


def encode(
    examples: Sequence[Labelled], wholes: Wholes, known: Sequence[str], config: Any
) -> list[Encoded | Dropped | DataError]:
    """The rows as ids, with the numbers of their labels; an error in the row's place."""

    def target(example: Labelled) -> list[float]:
        numbers = [index(name, known) for name in labels(example, config)]
        if not config.multi_label:
            return [float(numbers[0])]
        return [float(at in numbers) for at in range(len(known))]

    return of_texts(examples, wholes, target)


def of_texts(
    examples: Sequence[Labelled], wholes: Wholes, target: Any
) -> list[Encoded | Dropped | DataError]:
    """Texts or pairs as ids, with ``target(example)`` as one target of the whole."""
    firsts = wholes.split([one.texts[0] for one in examples])
    pairs = [one.texts[1] if len(one.texts) > 1 else None for one in examples]
    rest = iter(wholes.split([text for text in pairs if text is not None]))
    seconds = [None if text is None else next(rest) for text in pairs]
    found: list[Encoded | Dropped | DataError] = []
    for example, first, second in zip(examples, firsts, seconds, strict=True):
        try:
            targets = target(example)
            fitted = wholes.fitted(first, second)
        except DataError as error:
            found.append(error)
            continue
        if isinstance(fitted, Dropped):
            found.append(fitted)
            continue
        whole, cut = fitted
        found.append(
            Encoded(
                ids=whole.ids,
                trained=[True] * len(whole.ids),
                truncated=cut,
                targets=targets,
                count=1,
                kinds=wholes.kinds(whole),
            )
        )
    return found
