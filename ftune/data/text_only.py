"""For models without a chat template: plain text is written as it is, and turns are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftune.data.encoding import Encoder
from ftune.data.sandbox import INSTEAD
from ftune.data.templating import Segment, end_of_text, plain_text, stopping
from ftune.errors import ModelError
from ftune.types import Message


class TextOnly:
    """See ``templating.Template``."""

    name = "tokenizer"
    bos = True
    source = None
    warnings = ()

    def __init__(self, tokenizer: Any) -> None:
        """Needs the tokenizer's end mark.

        Raises:
            ModelError: it has none.
        """
        self._named = tokenizer.name_or_path
        self.encoder = Encoder(tokenizer)
        self.stop = (end_of_text(self.encoder),)
        self.stop_ids = stopping(self.encoder, self.stop)

    def segments(self, messages: Sequence[Message], ask: bool = False) -> tuple[Segment, ...]:
        """The text and its end mark; with ``ask``, nothing.

        Raises:
            ModelError: there are turns, which the model has no way of writing.
        """
        text = plain_text(messages, self.encoder)
        if text is None:
            raise ModelError(f"the tokenizer of {self._named} has no chat template; {INSTEAD}")
        return text[:0] if ask else text
