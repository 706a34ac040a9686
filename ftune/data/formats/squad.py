"""A question and a text that holds its answer (SQuAD)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftune.data.columns import kind_of, text, value
from ftune.errors import DataError
from ftune.recipe.base import Section
from ftune.types import Labelled

GIVES = "squad"


class Config(Section):
    """The columns."""

    question: str = "question"
    """The question."""
    context: str = "context"
    """The text in which the answer stands."""
    answers: str = "answers"
    """``{text: [...], answer_start: [...]}``, or a list of ``{text, answer_start}``: right answers
    and the characters of the context where they begin; none where the context has no answer."""


def example(row: Mapping[str, Any], config: Config) -> Labelled:
    """The row's question and context, and its answers as pairs of text and first character.

    Raises:
        DataError: a column is missing or of a wrong type, or an answer does not stand in its place.
    """
    question = text(row, config.question, "question")
    context = text(row, config.context, "context")
    pairs = tuple(_pairs(value(row, config.answers, "answers"), config.answers))
    for answer, start in pairs:
        if context[start : start + len(answer)] != answer:
            raise DataError(
                f"{config.answers!r}: {answer[:80]!r} does not stand at character {start} of the "
                f"context (there is {context[start : start + len(answer)][:80]!r}); correct the row"
            )
    return Labelled((question, context), pairs)


def _pairs(found: Any, column: str) -> list[tuple[str, int]]:
    if isinstance(found, Mapping):
        texts, starts = found.get("text"), found.get("answer_start")
        listed = isinstance(texts, list | tuple) and isinstance(starts, list | tuple)
        if not listed or len(texts) != len(starts):  # type: ignore[arg-type]
            raise DataError(f"{column!r} must have 'text' and 'answer_start', lists of one length")
        found = [{"text": a, "answer_start": b} for a, b in zip(texts, starts, strict=True)]  # type: ignore[arg-type]
    if not isinstance(found, list | tuple):
        raise DataError(f"{column!r} is {kind_of(found)} and must be answers; correct the row")
    pairs: list[tuple[str, int]] = []
    for one in found:
        if not isinstance(one, Mapping):
            raise DataError(f"{column!r}: an answer is {kind_of(one)} and must be an object")
        answer, start = one.get("text"), one.get("answer_start")
        well = isinstance(start, int) and not isinstance(start, bool) and start >= 0
        if not isinstance(answer, str) or not answer or not well:
            raise DataError(
                f"{column!r}: an answer must have a 'text' and 'answer_start', a number from 0"
            )
        pairs.append((answer, int(start)))  # type: ignore[arg-type]
    return pairs
