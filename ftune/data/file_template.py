"""Templates that are read from a YAML file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ftune.data.encoding import Encoder
from ftune.data.template_file import TemplateFile
from ftune.data.templating import (
    Segment,
    end_of_text,
    missing_marks,
    plain_text,
    stopping,
    with_system,
)
from ftune.errors import DataError
from ftune.types import Message

EOS = "{eos}"


class FileTemplate:
    """A template whose text stands in a file. See ``templating.Template``."""

    def __init__(
        self, name: str, file: TemplateFile, tokenizer: Any, system_prompt: str | None
    ) -> None:
        self.name = name
        self.bos = file.bos
        self._system_prompt = system_prompt
        self.encoder = Encoder(tokenizer, (*file.marks, file.assistant.end))
        self._file = file
        self.source = file.model_dump(mode="json")
        self._end = self._text(file.assistant.end)
        self.stop = tuple(dict.fromkeys((self._end, *map(self._text, file.stop))))
        self.stop_ids = stopping(self.encoder, [self._end])
        self.warnings = missing_marks(name, file.marks, self.encoder)

    def segments(self, messages: Sequence[Message], ask: bool = False) -> tuple[Segment, ...]:
        """The text of a conversation; with ``ask``, up to where the assistant is to speak."""
        text = plain_text(messages, self.encoder)
        if text:
            return text[:0] if ask else text
        turns = with_system(messages, self._system_prompt)
        found = [*self._preamble(turns)]
        for turn, message in enumerate(turns):
            found += self._turn(turn, message)
        if ask:
            found.append(self._markup(self._file.assistant.before, len(turns), "assistant"))
        elif turns[-1].role == "assistant":
            found.pop()  # what stands between an end mark and the next turn
        return tuple(segment for segment in found if segment.text)

    def _preamble(self, turns: Sequence[Message]) -> Iterator[Segment]:
        if any(m.role == "system" for m in turns):
            return
        first = next((m for m in turns if m.role == "user"), None)
        text = self._file.preamble
        if first and first.context and self._file.preamble_with_context is not None:
            text = self._file.preamble_with_context
        yield self._markup(text, 0, "system")

    def _turn(self, turn: int, message: Message) -> list[Segment]:
        role, file = message.role, self._file
        content = Segment(message.content, "content", turn, role)
        if role == "assistant":
            return [
                self._markup(file.assistant.before, turn, role),
                content,
                Segment(self._end, "end", turn, role),
                self._markup(file.assistant.after, turn, role),
            ]
        around = {"system": file.system, "user": file.user, "tool": file.tool}[role]
        if around is None:
            raise DataError(
                f"has a {role} turn, for which the template {self.name} has no place; name a "
                "template that has one (data.template)"
            )
        context: list[Segment] = []
        if message.context:
            context = [
                self._markup(file.user.context, turn, role),
                replace(content, text=message.context),
            ]
        before, after = (self._markup(t, turn, role) for t in (around.before, around.after))
        return [before, content, *context, after]

    def _markup(self, text: str, turn: int, role: str) -> Segment:
        return Segment(self._text(text), "markup", turn, role)

    def _text(self, text: str) -> str:
        return text.replace(EOS, end_of_text(self.encoder)) if EOS in text else text
