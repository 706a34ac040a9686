"""Windows over a context behind its question; the first and last token of the answer in each.

As in BERT's SQuAD training (Devlin et al. 2019): a window without the answer points at its first
token. What is too long is not cut but falls into more windows, whatever ``data.on_too_long`` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ftune.data.rules import Dropped
from ftune.data.wholes import Wholes
from ftune.errors import DataError
from ftune.types import Encoded, Labelled

LEAST = 8  # tokens of the context that a window must have


def labels(example: Labelled, config: Any) -> Iterable[str]:  # noqa: ARG001
    """It tells no labels apart."""
    return ()


@dataclass(frozen=True, slots=True)
class Window:
    """The ids of a window with marks; ``characters[i]`` are those of the context that token i is.

    ``characters[i]`` is None for a token that is none of the context's.
    """

    ids: Sequence[int]
    kinds: Sequence[int]
    characters: Sequence[tuple[int, int] | None]


def windows(example: Labelled, wholes: Wholes, stride: int) -> list[Window]:
    """All windows of a row; each begins ``stride`` tokens before the last one ended.

    Raises:
        DataError: beside the question is no room for the context.
    """
    question, context = wholes.split(example.texts)
    room = wholes.room(pair=True) - len(question.ids)
    if room < max(LEAST, stride + 1):
        raise DataError(
            f"its question has {len(question.ids)} tokens, which leaves {max(room, 0)} of "
            f"data.max_length for the context, with doc_stride {stride}; raise data.max_length"
        )
    parts = [context]
    if len(context.ids) > room:
        context.truncate(room, stride=stride)
        parts = [context, *context.overflowing]
    found = []
    for part in parts:
        whole = wholes.framed(question, part)
        characters = [
            tuple(offset) if sequence == 1 else None
            for offset, sequence in zip(whole.offsets, whole.sequence_ids, strict=True)
        ]
        found.append(Window(whole.ids, wholes.kinds(whole), characters))  # type: ignore[arg-type]
    return found


def reference(example: Labelled, config: Any) -> tuple[str, ...]:  # noqa: ARG001
    """What is right to say: any of the answers, or nothing where there is none."""
    return tuple(dict.fromkeys(text for text, _ in example.target)) or ("",)


def asked(
    example: Labelled, wholes: Wholes, config: Any
) -> tuple[str, list[Sequence[tuple[int, int] | None]]]:
    """The context, and for each window which characters of it the tokens are."""
    parts = windows(example, wholes, config.doc_stride)
    return example.texts[1], [part.characters for part in parts]


def reworded(example: Labelled, change: Callable[[str], str]) -> Labelled:
    """The row with its question changed; the context stays, since answers are places in it."""
    question, context = example.texts
    return replace(example, texts=(change(question), context))


def encode(
    examples: Sequence[Labelled],
    wholes: Wholes,
    known: Sequence[str],  # noqa: ARG001
    config: Any,
) -> list[Encoded | Dropped | DataError]:
    """The rows as ids, with two targets for each window; an error in the row's place."""
    found: list[Encoded | Dropped | DataError] = []
    for example in examples:
        try:
            parts = windows(example, wholes, config.doc_stride)
        except DataError as error:
            found.append(error)
            continue
        ids = [token for part in parts for token in part.ids]
        found.append(
            Encoded(
                ids=ids,
                trained=[True] * len(ids),
                targets=[float(at) for part in parts for at in _span(part, example.target)],
                count=len(parts),
                kinds=[kind for part in parts for kind in part.kinds],
                lines=[len(part.ids) for part in parts],
            )
        )
    return found


def _span(window: Window, answers: Sequence[tuple[str, int]]) -> tuple[int, int]:
    """First and last token of the first answer; (0, 0) where the window does not hold it whole."""
    if not answers:
        return 0, 0
    text, start = answers[0]
    end = start + len(text)
    inside = [
        at
        for at, own in enumerate(window.characters)
        if own is not None and own[1] > start and own[0] < end
    ]
    if not inside:
        return 0, 0
    first, last = window.characters[inside[0]], window.characters[inside[-1]]
    whole = first is not None and last is not None and first[0] <= start and end <= last[1]
    return (inside[0], inside[-1]) if whole else (0, 0)
