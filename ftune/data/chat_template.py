"""The model's own chat template, with the assistant's words found exactly.

A template is a program; which part of its text is whose is found by experiment and then proved:

1. A conversation of these roles is rendered with a placeholder for each message. What stands
   between the placeholders is the template's, and there must be each of them, once, in order.
2. A second one, with white space round the placeholders, shows whether the template strips words.
3. Each real conversation is put together from these pieces and rendered by the template too. The
   two texts must be equal, character by character; else the row is an error.

So a template that changes people's words in another way is refused, row by row, never guessed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftune.data.encoding import Encoder
from ftune.data.sandbox import INSTEAD, Sandbox
from ftune.data.skeleton import PLACEHOLDER, Skeleton, build
from ftune.data.templating import Segment, end_of_text, plain_text, stopping, with_system
from ftune.errors import DataError, FtuneError, ModelError
from ftune.types import Message

CLOCK = "strftime_now"


class ChatTemplate:
    """The template that comes with a tokenizer. See ``templating.Template``."""

    name = "tokenizer"
    bos = True

    def __init__(self, tokenizer: Any, system_prompt: str | None = None) -> None:
        """Renders a conversation of two turns, and one of four, to see what the template does.

        Raises:
            ModelError: there is no template, or its assistant's words can't be found.
        """
        source = _source(tokenizer)
        self.source = source
        self._sandbox = Sandbox(source, _given(tokenizer))
        self._system_prompt = system_prompt
        self._skeletons: dict[tuple[str, ...], Skeleton] = {}
        self._tokens = tuple(sorted(tokenizer.get_added_vocab(), key=len, reverse=True))
        try:
            short = self._skeleton(("user", "assistant"))
        except FtuneError as error:
            clock = " (it asks for the date, which it may not know)" if CLOCK in source else ""
            raise ModelError(f"{error}{clock}; {INSTEAD}") from error
        marks = [t for t in self._tokens if any(t in piece for piece in short.marks())]
        self.encoder = Encoder(tokenizer, marks)
        self._end = short.end
        self.stop = (self._end,) if self._end else (end_of_text(self.encoder),)
        self.stop_ids = stopping(self.encoder, self.stop)
        self.warnings = tuple(self._warnings(source, short))

    def _warnings(self, source: str, short: Skeleton) -> list[str]:
        found = []
        if CLOCK in source:
            found.append(
                "the model's chat template asks for today's date; it is not told, so that a "
                "conversation renders the same on every day: it writes a date of its own, or none"
            )
        if not self._end:
            found.append(
                "the model's chat template writes no end mark behind an answer; "
                f"{self.stop[0]} is put there, so that the model learns to stop"
            )
        if not short.asks:
            found.append(
                "the model's chat template opens an answer otherwise when it asks for one; prompts "
                "are opened as in training"
            )
        opening = self.encoder.opening
        first = self.encoder.pieces(short.before[0])[:1]
        if opening and first != list(opening[:1]):
            found.append(
                "the model's chat template writes no beginning mark, and its tokenizer puts one "
                "before every text; ftune puts it there, other programs that serve it may not"
            )
        return found

    def segments(self, messages: Sequence[Message], ask: bool = False) -> tuple[Segment, ...]:
        """The text of a conversation; with ``ask``, up to where the assistant is to speak."""
        text = plain_text(messages, self.encoder)
        if text:
            return text[:0] if ask else text
        turns = with_system(messages, self._system_prompt)
        if ask:
            turns = (*turns, Message("assistant", PLACEHOLDER))
        skeleton = self._skeleton(tuple(m.role for m in turns))
        words = [f"{m.content}\n\n{m.context}" if m.context else m.content for m in turns]
        found = skeleton.segments(words)
        pairs = zip(turns, words, strict=True)
        sent = [{"role": turn.role, "content": content} for turn, content in pairs]
        true = self._sandbox.render(sent, ask=False).text
        ours = "".join(segment.text for segment in found)
        if ours != true:
            raise DataError(_difference(ours, true))
        if ask:
            last = len(turns) - 1
            return tuple(s for s in found if s.turn < last or (s.turn, s.kind) == (last, "markup"))
        if skeleton.end or turns[-1].role != "assistant":
            return found
        return (*found, Segment(self.stop[0], "end", len(turns) - 1, "assistant"))

    def _skeleton(self, roles: tuple[str, ...]) -> Skeleton:
        if roles not in self._skeletons:
            self._skeletons[roles] = build(self._sandbox, roles, self._tokens)
        return self._skeletons[roles]


def _source(tokenizer: Any) -> str:
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        raise ModelError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template; {INSTEAD}"
        ) from error


def _given(tokenizer: Any) -> dict[str, Any]:
    """The special tokens, which a chat template sees as variables."""
    found = {}
    for name, token in tokenizer.special_tokens_map.items():
        found[name] = list(map(str, token)) if isinstance(token, list) else str(token)
    return found


def _difference(ours: str, true: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(ours, true, strict=False)) if a != b), None)
    at = min(len(ours), len(true)) if at is None else at
    return (
        "the model's chat template changes the words of this row (it writes "
        f"{true[at : at + 30]!r} where they are {ours[at : at + 30]!r}), so what the assistant "
        f"says can't be told exactly; {INSTEAD}"
    )
