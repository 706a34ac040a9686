"""A conversation on a terminal, with answers that appear as they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ftune.errors import DataError
from ftune.evaluate.answering import Answerer
from ftune.types import Message

HELP = "/reset begins anew, /exit leaves, Ctrl-C ends an answer"
SWITCH = "/adapter lists the adapters, /adapter NAME answers with another one"


class Voices(Protocol):
    """Several adapters on one base, one of which answers."""

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""

    @property
    def now(self) -> str:
        """The one that answers."""

    def use(self, name: str) -> Answerer:
        """Another one, ready to answer; the one before must not be asked any more.

        Raises:
            DataError: there is none of this name.
        """


def chat(
    answerer: Answerer,
    ask: Callable[[], str],
    show: Callable[[str], object],
    note: Callable[[str], object],
    voices: Voices | None = None,
) -> tuple[Message, ...]:
    """Asks and answers until ``/exit`` or the end of the input; returns the conversation.

    ``ask()`` reads a line and raises EOFError at the end; ``show`` writes a piece of an answer
    without a line end, and ``note`` a line of our own. Ctrl-C ends the answer under way, which
    keeps what was said so far, and never the chat. A question for which the context has no room
    is told and taken back. With ``voices`` ``/adapter`` changes who answers; the conversation goes
    on.
    """
    help_text = f"{HELP}; {SWITCH}" if voices else HELP
    note(help_text)
    history: tuple[Message, ...] = ()
    key = 0
    while True:
        try:
            line = ask().strip()
        except EOFError:
            return history
        except KeyboardInterrupt:
            note(f"\n{help_text}")
            continue
        if line == "/exit":
            return history
        if line == "/reset":
            history = ()
            note("a new conversation")
        elif line.partition(" ")[0] == "/adapter" and voices:
            answerer = _switched(line.partition(" ")[2].strip(), voices, note) or answerer
        elif line.startswith("/") and " " not in line:
            note(f"{line} is no command: {help_text}")
        elif line:
            asked = (*history, Message("user", line))
            said = _answer(answerer, asked, show, note, key)
            key += 1
            if said is not None:
                history = (*asked, Message("assistant", said)) if said else asked[:-1]


def _switched(name: str, voices: Voices, note: Callable[[str], object]) -> Answerer | None:
    """Who answers from now on; None if nothing changes."""
    if not name:
        note("\n".join(f"{'*' if n == voices.now else ' '} {n}" for n in voices.names))
        return None
    try:
        found = voices.use(name)
    except DataError as error:
        note(str(error))
        return None
    note(f"{name} answers now; the conversation goes on, /reset begins anew")
    return found


def _answer(
    answerer: Answerer,
    asked: tuple[Message, ...],
    show: Callable[[str], object],
    note: Callable[[str], object],
    key: int,
) -> str | None:
    """What was said, or None if the question could not be asked."""
    pieces: list[str] = []

    def on_piece(piece: str) -> None:
        pieces.append(piece)
        show(piece)

    try:
        finish = answerer.answer(asked, on_piece, key).finish
    except KeyboardInterrupt:
        note("\n(ended)")
    except DataError as error:
        note(f"{error}; /reset begins a new conversation")
        return None
    else:
        note("" if finish == "stop" else "\n(cut at max_new_tokens)")
    return "".join(pieces)
