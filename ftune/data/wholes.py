"""Texts that a model reads whole, as the tokenizer frames them, none longer than allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftune.data.encoding import Encoder
from ftune.data.rules import Dropped, Rules
from ftune.data.templating import Template
from ftune.errors import DataError

TOO_LONG = Dropped("too long")


class Wholes:
    """The tokenizer's own way of framing a text or a pair: its marks and its token types.

    Attributes:
        template: what writes questions; None where texts stand for themselves.
        on_too_long: what is done with long ones.
        typed: whether the model is told which text of a pair a token is of.
    """

    def __init__(self, tokenizer: Any, rules: Rules, template: Template | None = None) -> None:
        self.template = template
        self.on_too_long = rules.on_too_long
        self._encoder = Encoder(tokenizer)
        self._rules = rules
        self.typed = "token_type_ids" in tokenizer.model_input_names

    def split(self, texts: Sequence[Any], words: bool = False) -> list[Any]:
        """Each text's Encoding without marks; with ``words`` a text is a list of words."""
        return self._encoder.split(texts, words)

    def framed(self, first: Any, second: Any | None = None) -> Any:
        """The Encoding of one or two with marks, however long."""
        return self._encoder.framed(first, second)

    def room(self, pair: bool) -> int:
        """How many tokens of text have room beside the marks."""
        return self._rules.max_length - self._encoder.marks(pair)

    def fitted(self, first: Any, second: Any | None = None) -> tuple[Any, int] | Dropped:
        """The same with marks, and how many tokens were cut off; the longer text is cut first.

        Raises:
            DataError: it is too long, and the rules say to stop.
        """
        room = self.room(second is not None)
        lengths = [len(first.ids), len(second.ids) if second is not None else 0]
        surplus = sum(lengths) - room
        if surplus > 0:
            if self._rules.on_too_long == "drop":
                return TOO_LONG
            if self._rules.on_too_long == "error":
                raise DataError(
                    f"has {sum(lengths) + self._rules.max_length - room} tokens, and "
                    f"data.max_length is {self._rules.max_length}; raise it, or set "
                    "data.on_too_long to truncate or drop"
                )
            for _ in range(surplus):
                lengths[0 if lengths[0] > lengths[1] else 1] -= 1
            first.truncate(max(lengths[0], 0))
            if second is not None:
                second.truncate(max(lengths[1], 0))
        return self.framed(first, second), max(surplus, 0)

    def kinds(self, encoding: Any) -> list[int]:
        """The token types of an Encoding; none where the model isn't told."""
        return list(encoding.type_ids) if self.typed else []
