"""A number for the first token of each word: that of the word's tag."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ftune.data.labels import index
from ftune.data.rules import Dropped
from ftune.data.wholes import Wholes
from ftune.errors import DataError
from ftune.types import Encoded, Labelled

NONE = -100.0  # at marks, and at the further tokens of a word


def labels(example: Labelled, config: Any) -> Iterable[str]:  # noqa: ARG001
    """The tags that the row has."""
    return example.target


def reference(example: Labelled, config: Any) -> tuple[str, ...]:  # noqa: ARG001
    """What is right to say: the tags, with blanks between."""
    return (" ".join(example.target),)


def asked(example: Labelled, wholes: Wholes, config: Any) -> tuple[int, tuple[int, ...]]:  # noqa: ARG001
    """How many words there are, and which of them have a token.

    The others were cut off, or are characters that the tokenizer leaves out (a soft hyphen).
    """
    fitted = wholes.fitted(wholes.split([list(example.texts)], words=True)[0])
    assert not isinstance(fitted, Dropped)
    words = (word for word in fitted[0].word_ids if word is not None)
    return len(example.texts), tuple(dict.fromkeys(words))


def reworded(example: Labelled, change: Callable[[str], str]) -> Labelled:
    """The row with each word changed by itself; it has as many as before, and its tags stay."""
    return replace(example, texts=tuple(map(change, example.texts)))


def encode(
    examples: Sequence[Labelled],
    wholes: Wholes,
    known: Sequence[str],
    config: Any,  # noqa: ARG001
) -> list[Encoded | Dropped | DataError]:
    """The rows as ids, with a target for each; an error in the row's place."""
    found: list[Encoded | Dropped | DataError] = []
    split = wholes.split([list(one.texts) for one in examples], words=True)
    for example, first in zip(examples, split, strict=True):
        try:
            numbers = [index(tag, known) for tag in example.target]
            fitted = wholes.fitted(first)
        except DataError as error:
            found.append(error)
            continue
        if isinstance(fitted, Dropped):
            found.append(fitted)
            continue
        whole, cut = fitted
        targets, before = [], None
        for word in whole.word_ids:
            first_of_word = word is not None and word != before
            targets.append(float(numbers[word]) if first_of_word else NONE)
            before = word
        told = [target != NONE for target in targets]
        if not any(told):
            found.append(Dropped("no word left"))
            continue
        found.append(
            Encoded(
                ids=whole.ids,
                trained=told,
                truncated=cut,
                targets=targets,
                count=sum(told),
                kinds=wholes.kinds(whole),
            )
        )
    return found
