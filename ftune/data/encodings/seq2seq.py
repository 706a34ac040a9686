"""A question for the encoder, and its answer for the decoder, each framed by the tokenizer.

The ids of a row are those of the question, and behind them those of the answer, which are trained;
``lines`` holds how many belong to the question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ftune.data.render import answer_is_all
from ftune.data.rules import Dropped
from ftune.data.templating import Template
from ftune.data.wholes import TOO_LONG, Wholes
from ftune.errors import DataError
from ftune.types import Batch, Encoded, Example, Message

TEMPLATED = True  # the question is written by a template


def labels(example: Example, config: Any) -> Iterable[str]:  # noqa: ARG001
    """It tells no labels apart."""
    return ()


def reference(example: Example, config: Any) -> tuple[str, ...]:  # noqa: ARG001
    """What is right to say: the answer, and further ones."""
    return tuple(dict.fromkeys((example.messages[-1].content, *example.references)))


def asked(example: Example, wholes: Wholes, config: Any) -> None:
    """An answer needs to know nothing more of the row."""


def question(messages: Sequence[Message], template: Template) -> str:
    """What the encoder reads: the messages as the template writes them, up to the answer."""
    return "".join(segment.text for segment in template.segments(messages, ask=True))


def encode(
    examples: Sequence[Example],
    wholes: Wholes,
    known: Sequence[str],  # noqa: ARG001
    config: Any,  # noqa: ARG001
) -> list[Encoded | Dropped | DataError]:
    """The rows as ids of question and answer; an error in the row's place."""
    found: list[Encoded | Dropped | DataError] = []
    for example in examples:
        try:
            found.append(_one(example, wholes))
        except DataError as error:
            found.append(error)
    return found


def _one(example: Example, wholes: Wholes) -> Encoded | Dropped:
    assert wholes.template is not None
    if answer_is_all(example) or example.messages[-1].role != "assistant":
        raise DataError(
            "does not end with an assistant's answer to a question, which seq2seq learns"
        )
    text = question(example.messages[:-1], wholes.template)
    source, target = wholes.split([text, example.messages[-1].content])
    for what, part in (("question", source), ("answer", target)):
        if len(part.ids) <= wholes.room(pair=False):
            continue
        if wholes.on_too_long == "drop":
            return TOO_LONG
        if wholes.on_too_long == "error":
            raise DataError(
                f"its {what} has {len(part.ids)} tokens, and data.max_length has room for "
                f"{wholes.room(pair=False)}; raise it, or set data.on_too_long to truncate_prompt "
                "or drop"
            )
        if part is target:
            return Dropped("answer too long")
    cut = max(0, len(source.ids) - wholes.room(pair=False))
    if cut:
        source.truncate(wholes.room(pair=False), direction="left")
    read, said = wholes.framed(source).ids, wholes.framed(target).ids
    return Encoded(
        ids=[*read, *said],
        trained=[False] * len(read) + [True] * len(said),
        prompt_length=len(read),
        truncated=cut,
        count=len(said),
        lines=[len(read)],
    )


def prompt(messages: Sequence[Message], wholes: Wholes) -> list[int]:
    """What the encoder is asked after these messages.

    Raises:
        DataError: they are too long.
    """
    assert wholes.template is not None
    [source] = wholes.split([question(messages, wholes.template)])
    if len(source.ids) > wholes.room(pair=False):
        raise DataError(
            f"the question has {len(source.ids)} tokens, and data.max_length has room for "
            f"{wholes.room(pair=False)}; make it shorter"
        )
    return list(wholes.framed(source).ids)


def collate(micro: Any, read: Callable[[int], Encoded], pad_id: int) -> Batch:
    """Questions as ``input_ids`` and answers as ``targets``, both padded on the right."""
    import numpy as np
    import torch

    numbers = [row for line in micro.lines for row in line]
    rows = [read(number) for number in numbers]
    lengths = [(row.lines[0], len(row.ids) - row.lines[0]) for row in rows]
    input_ids = np.full((len(rows), max(a for a, _ in lengths)), pad_id, dtype=np.int64)
    mask = np.zeros_like(input_ids)
    targets = np.full((len(rows), max(b for _, b in lengths)), -100.0)
    for at, (row, (source, target)) in enumerate(zip(rows, lengths, strict=True)):
        input_ids[at, :source] = row.ids[:source]
        mask[at, :source] = 1
        if not micro.idle:
            targets[at, :target] = row.ids[source:]
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        labels=torch.full(input_ids.shape, -100),
        position_ids=torch.arange(input_ids.shape[1]).expand(input_ids.shape),
        attention_mask=torch.from_numpy(mask),
        rows=tuple(numbers),
        count=0 if micro.idle else sum(row.count for row in rows),
        examples=len(rows),
        targets=torch.from_numpy(targets),
        lines=(1,) * len(rows),
    )
