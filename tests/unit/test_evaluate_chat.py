from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ftune.errors import DataError, RunError
from ftune.evaluate.answering import Answerer
from ftune.evaluate.chat import chat
from ftune.evaluate.questions import Question
from ftune.recipe.schema import Generation
from ftune.types import Message, Prediction

START = (Message("user", "Once upon a time"),)


@pytest.fixture
def answerer(shared: Path) -> Callable[..., Answerer]:
    folder = shared / "models/stories260K"
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )

    def make(stop: tuple[str, ...] = (), **options: Any) -> Answerer:
        def render(messages: tuple[Message, ...]) -> list[int]:
            return list(tokenizer("\n".join(m.content for m in messages)).input_ids)

        section = Generation(**{"max_new_tokens": 40, **options})
        return Answerer(model, tokenizer, render, section, stop)

    return make


@pytest.mark.parametrize(
    ("options", "stop"),
    [({}, ()), ({"num_beams": 2}, ()), ({"do_sample": True}, ()), ({}, ("park", ". S", "xyz"))],
    ids=["greedy", "beams", "sampled", "stopped"],
)
def test_pieces_are_the_answer(
    answerer: Callable[..., Answerer], options: dict[str, Any], stop: tuple[str, ...]
) -> None:
    pieces: list[str] = []
    one = answerer(stop, **options)
    found = one.answer(START, pieces.append)
    assert "".join(pieces) == found.text
    assert found.text.startswith(",") or options
    assert (len(pieces) > 5) == ("num_beams" not in options)
    assert found.finish == ("stop" if stop else "length")
    [same] = one.answer_all([Question(START)], batch_size=4)
    assert same == found
    if "do_sample" in options:
        assert one.answer(START, key=1).text != found.text


def test_files_of_questions(answerer: Callable[..., Answerer]) -> None:
    questions = [
        Question((Message("user", text),), "q.txt", row)
        for row, text in enumerate(("Tom saw", "Once upon a time", "A"), 1)
    ]
    one = answerer()
    found = list(one.answer_all(questions, batch_size=2))
    assert [(p.source, p.row, p.prompt) for p in found] == [
        ("q.txt", 1, "Tom saw"),
        ("q.txt", 2, "Once upon a time"),
        ("q.txt", 3, "A"),
    ]
    assert [p.text for p in found] == [one.answer(q.messages).text for q in questions]


def test_too_little_memory(answerer: Callable[..., Answerer]) -> None:
    one = answerer()

    def short(**given: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    one.model.generate = short
    with pytest.raises(RunError, match="there isn't memory"):
        one.answer(START)


class Scripted:
    """An answerer that repeats what it was asked, in two pieces; ``!`` is Ctrl-C between them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.keys: list[int] = []

    def answer(
        self, messages: tuple[Message, ...], show: Callable[[str], object], key: int
    ) -> Prediction:
        self.asked.append(tuple(m.content for m in messages))
        self.keys.append(key)
        last = messages[-1].content
        if last == "long":
            raise DataError("the prompt: too long")
        if last != "mute!":
            show("so ")
        if last.endswith("!"):
            raise KeyboardInterrupt
        show(last)
        return Prediction(0, last, f"so {last}", finish="length" if last == "cut" else "stop")


class Two:
    """Two voices: ``one`` is the script that is asked first."""

    names = ("one", "two")

    def __init__(self) -> None:
        self.now = "one"
        self.scripts = {name: Scripted() for name in self.names}

    def use(self, name: str) -> Scripted:
        if name not in self.names:
            raise DataError(f"there is no adapter {name!r}")
        self.now = name
        return self.scripts[name]


def test_adapters_take_turns() -> None:
    voices, notes = Two(), []
    lines = iter(["a", "/adapter two", "b", "/adapter", "/adapter three", "c", "/adapter one", "d"])
    last = voices.use("one")
    chat(last, lambda: next(lines, "/exit"), str, notes.append, voices)  # type: ignore[arg-type]
    assert voices.scripts["two"].asked == [("a", "so a", "b"), ("a", "so a", "b", "so b", "c")]
    assert [asked[-1] for asked in voices.scripts["one"].asked] == ["a", "d"]
    assert "  one\n* two" in notes
    assert "there is no adapter 'three'" in notes
    assert "/adapter NAME" in notes[0]


def test_without_adapters_there_is_no_such_command() -> None:
    script, _, _, notes = talk("/adapter", "a")
    assert script.asked == [("a",)]
    assert any("/adapter is no command" in note for note in notes)


def talk(*lines: str | type[BaseException]) -> tuple[Scripted, tuple[Message, ...], str, list[str]]:
    script, said, notes = Scripted(), [], []
    left = iter(lines)

    def ask() -> str:
        line = next(left, EOFError)
        if isinstance(line, str):
            return line
        raise line

    history = chat(script, ask, said.append, notes.append)  # type: ignore[arg-type]
    assert next(left, None) is None or "/exit" in lines
    return script, history, "".join(said), notes


def test_the_conversation_is_kept() -> None:
    script, history, said, notes = talk("a", "  ", "b ", "/exit", "never")
    assert script.asked == [("a",), ("a", "so a", "b")]
    assert script.keys == [0, 1]
    assert [(m.role, m.content) for m in history] == [
        ("user", "a"),
        ("assistant", "so a"),
        ("user", "b"),
        ("assistant", "so b"),
    ]
    assert said == "so aso b"
    assert "/exit" in notes[0]


def test_reset_and_unknown_commands() -> None:
    script, history, _, notes = talk("a", "/reset", "/quit", "b", "/a path")
    assert script.asked == [("a",), ("b",), ("b", "so b", "/a path")]
    assert any("/quit is no command" in note for note in notes)
    assert len(history) == 4


def test_interrupt_ends_the_answer_only() -> None:
    script, _, _, notes = talk("a!", KeyboardInterrupt, "mute!", "b", "cut")
    assert script.asked[1:] == [
        ("a!", "so ", "mute!"),
        ("a!", "so ", "b"),
        ("a!", "so ", "b", "so b", "cut"),
    ]
    assert sum("(ended)" in note for note in notes) == 2
    assert sum("max_new_tokens" in note for note in notes) == 1


def test_a_question_that_does_not_fit_is_taken_back() -> None:
    script, _, _, notes = talk("a", "long", "b")
    assert script.asked[-1] == ("a", "so a", "b")
    assert any("too long; /reset begins" in note for note in notes)


def test_interrupt_inside_generation(answerer: Callable[..., Answerer]) -> None:
    one = answerer(max_new_tokens=200)
    lines = iter(["Once upon a time", "/exit"])
    pieces: list[str] = []

    def show(piece: str) -> None:
        pieces.append(piece)
        if len(pieces) == 10:
            raise KeyboardInterrupt

    own = one.model.generation_config
    history = chat(one, lambda: next(lines), show, lambda line: None)
    assert history[1].content == "".join(pieces)
    assert len(pieces) == 10
    assert one.model.generation_config is own
