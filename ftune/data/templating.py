"""Turns -> text in segments that know what they are: markup, people's words, or an end mark.

Only here is decided which text may spell special tokens (markup, lead, end) and which never may
(content). A mask follows from the segments alone; nothing looks for words in finished text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ftune.errors import ModelError, RecipeError
from ftune.registry import template_names
from ftune.types import Message

if TYPE_CHECKING:
    from ftune.data.encoding import Encoder

Kind = Literal["markup", "content", "lead", "end"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of rendered text.

    ``kind`` is "markup" (a template's text), "content" (a person's words; never special tokens),
    "lead" (what an assistant writes before its words, such as an empty thought) or "end" (its end
    mark). ``turn`` counts messages from 0; ``role`` is the message's.
    """

    text: str
    kind: Kind
    turn: int
    role: str

    @property
    def spoken(self) -> bool:
        """Whether the model has to write this by itself, so that it can be trained."""
        return self.kind != "markup" and self.role in {"assistant", "text"}


class Template(Protocol):
    """How turns become text."""

    @property
    def name(self) -> str:
        """As the recipe writes it."""

    @property
    def encoder(self) -> Encoder:
        """Encodes this template's segments for one tokenizer."""

    @property
    def bos(self) -> bool:
        """Whether the tokenizer's beginning mark stands first."""

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that end an answer."""

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer: the end mark if it is one, and the tokenizer's own."""

    @property
    def source(self) -> Any:
        """All that it writes, as a plain value: two templates with equal ones render alike."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know before training with it."""

    def segments(self, messages: Sequence[Message], ask: bool = False) -> tuple[Segment, ...]:
        """The text of a conversation; with ``ask``, up to where the assistant is to speak.

        Raises:
            DataError: the conversation can't be written in this template.
        """


def load_template(
    name: str, tokenizer: Any, system_prompt: str | None = None, folder: Path | None = None
) -> Template:
    """The template that a recipe names: one that ships, a YAML file, or ``tokenizer``.

    ``folder`` is where a relative path of a file starts. ``system_prompt`` is put before
    conversations that have no system message.

    Raises:
        RecipeError: there is no such template, or its file is wrong.
        ModelError: the tokenizer can't be used with it.
    """
    from ftune.data.template_file import find_template, read_template

    if name == "tokenizer":
        from ftune.data.chat_template import ChatTemplate
        from ftune.data.text_only import TextOnly

        if not tokenizer.chat_template:
            return TextOnly(tokenizer)
        return ChatTemplate(tokenizer, system_prompt)
    from ftune.data.file_template import FileTemplate

    path = find_template(name, folder or Path())
    if path is None:
        raise RecipeError(
            f"data.template: {name!r} is neither a template nor a .yaml file that is there; "
            f"there are: {', '.join(template_names())}"
        )
    return FileTemplate(name, read_template(path), tokenizer, system_prompt)


def with_system(messages: Sequence[Message], system_prompt: str | None) -> tuple[Message, ...]:
    """The messages, a system message put first if there is none and one is wanted."""
    has = any(m.role in {"system", "text"} for m in messages)
    if system_prompt is None or has:
        return tuple(messages)
    return (Message("system", system_prompt), *messages)


def plain_text(messages: Sequence[Message], encoder: Encoder) -> tuple[Segment, ...] | None:
    """Segments of text without roles: the text and an end mark; None for a conversation."""
    if [m.role for m in messages] != ["text"]:
        return None
    end = end_of_text(encoder)
    return Segment(messages[0].content, "content", 0, "text"), Segment(end, "end", 0, "text")


def end_of_text(encoder: Encoder) -> str:
    """The tokenizer's end mark.

    Raises:
        ModelError: it has none.
    """
    if encoder.eos is None:
        raise ModelError(
            "the tokenizer has no end mark (eos_token), so a model could not learn to stop; set "
            "eos_token in its tokenizer_config.json, or name a template with a mark of its own"
        )
    return encoder.eos


def stopping(encoder: Encoder, ends: Sequence[str]) -> tuple[int, ...]:
    """Ids of the end marks and of the tokenizer's own, without repetition."""
    texts = [*ends, *([encoder.eos] if encoder.eos else [])]
    ids = [encoder.id_of(text) for text in texts]
    return tuple(dict.fromkeys(i for i in ids if i is not None))


def missing_marks(name: str, marks: Sequence[str], encoder: Encoder) -> tuple[str, ...]:
    """A warning if texts that should be one token are not in the vocabulary."""
    absent = [mark for mark in marks if encoder.id_of(mark) is None]
    if not absent:
        return ()
    listed = ", ".join(f'"{mark}"' for mark in absent)
    return (
        f"template {name}: {listed} not in the tokenizer's vocabulary, so each is spelled in "
        f"several tokens; to make them one, set model.add_tokens: [{listed}]",
    )
