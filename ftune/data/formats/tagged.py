"""Words, each with its tag (CoNLL, named entities)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftune.data.columns import items, value
from ftune.errors import DataError
from ftune.recipe.base import Section
from ftune.types import Labelled

GIVES = "tagged"


class Config(Section):
    """The columns."""

    tokens: str = "tokens"
    """The words: a list of texts."""
    tags: str = "tags"
    """Their tags: a list of texts or numbers, as long."""
    names: tuple[str, ...] = ()
    """What tags that are numbers are called, from 0 on."""


def example(row: Mapping[str, Any], config: Config) -> Labelled:
    """The row's words and tags.

    Raises:
        DataError: a column is missing or of a wrong type, or the two are not of one length.
    """
    words = items(value(row, config.tokens, "tokens"), config.tokens)
    tags = items(value(row, config.tags, "tags"), config.tags)
    if len(words) != len(tags):
        raise DataError(
            f"{config.tokens!r} has {len(words)} words and {config.tags!r} has {len(tags)} tags; "
            "give each word one tag"
        )
    for at, word in enumerate(words):
        if not isinstance(word, str) or not word.strip():
            raise DataError(f"{config.tokens!r}: word {at + 1} is {word!r} and must be text")
    return Labelled(tuple(words), tuple(_tag(tag, at, config) for at, tag in enumerate(tags, 1)))


def _tag(tag: Any, at: int, config: Config) -> str:
    if isinstance(tag, bool) or not isinstance(tag, str | int) or tag == "":
        raise DataError(f"{config.tags!r}: tag {at} is {tag!r} and must be text or a number")
    if isinstance(tag, str) and len(tag.split()) != 1:
        raise DataError(f"{config.tags!r}: tag {at} is {tag!r} and must be one word")
    if not config.names or isinstance(tag, str):
        return str(tag).strip()
    if not 0 <= tag < len(config.names):
        raise DataError(
            f"{config.tags!r}: tag {at} is {tag}, and names has {len(config.names)} names, from 0 "
            f"to {len(config.names) - 1}"
        )
    return config.names[tag]
