"""Behind ``ftune generate``: a run's model, asked through the template that it was trained with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.recipe.view import View
from ftune.run import atomic
from ftune.run.progress import Progress
from ftune.run.stage import Place
from ftune.stages import prompting
from ftune.stages.models import MODEL_KEYS, load_base, trained
from ftune.stages.target import Found
from ftune.types import Message

if TYPE_CHECKING:
    from ftune.evaluate.answering import Answerer

KEYS = (
    *MODEL_KEYS,
    "data.template",
    "data.system_prompt",
    "data.max_length",
    "data.train_on",
    "data.on_too_long",
    "evaluate.generation",
    "evaluate.batch_size",
)


@dataclass(frozen=True)
class Ask:
    """What is asked: one of ``prompt``, ``input`` and ``chat``."""

    prompt: str | None
    input: Path | None
    output: Path | None
    chat: bool
    base: bool = False
    allow_remote_code: bool = False


def ask(found: Found, wish: Ask, progress: Progress, as_json: bool = False) -> None:
    """Answers on standard output, in a file, or in a chat."""
    from ftune.evaluate.questions import read_questions

    questions = list(read_questions(wish.input)) if wish.input else []
    recipe = View(found.loaded.recipe, "", KEYS, set())
    asked = answerer(found, recipe, wish, progress)
    if wish.chat:
        from ftune.evaluate.chat import chat

        chat(asked, lambda: input("> "), _show, print)
    elif wish.prompt is not None:
        _one(asked, wish.prompt, as_json)
    else:
        _all(asked, questions, wish, recipe.evaluate.batch_size, progress)


def answerer(found: Found, recipe: View, wish: Ask, progress: Progress) -> Answerer:
    """The run's model, or its base, with the template that it was trained with.

    Raises:
        ModelError: prompts would not be rendered as in training.
    """
    from ftune.data.render import prompt_text
    from ftune.data.rules import Rules
    from ftune.data.templating import load_template
    from ftune.evaluate.answering import Answerer

    if wish.base:
        base = load_base(recipe, wish.allow_remote_code)
        model, tokenizer = base.model, base.tokenizer
    else:
        adapter = found.trained().stage("train") / "adapter"
        tuned = trained(recipe, wish.allow_remote_code, adapter, progress)
        model, tokenizer = tuned.model, tuned.tokenizer
        place = Place(found.folder, wish.allow_remote_code)
        prompting.check(adapter, recipe, tokenizer, place, progress)
    template = load_template(
        recipe.data.template, tokenizer, recipe.data.system_prompt, found.folder
    )
    rules = Rules.of(recipe.data)

    def render(messages: tuple[Message, ...]) -> Sequence[int]:
        return prompt_text(messages, template, rules).ids

    return Answerer(
        model, tokenizer, render, recipe.evaluate.generation, template.stop, template.stop_ids
    )


def _show(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()


def _one(answerer: Answerer, prompt: str, as_json: bool) -> None:
    messages = (Message("user", prompt),)
    if as_json:
        print(_line(answerer.answer(messages)))
    else:
        answerer.answer(messages, _show)
        print()


def _all(
    answerer: Answerer, questions: Sequence[Any], wish: Ask, batch_size: int, progress: Progress
) -> None:
    answers = answerer.answer_all(questions, batch_size, progress)
    if wish.output is None:
        for answer in answers:
            print(_line(answer), flush=True)
        return
    lines: Iterator[str] = (_line(answer) + "\n" for answer in answers)

    def fill(path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(lines)

    atomic.write(wish.output, fill)
    progress.say(f"{len(questions)} answers written to {wish.output}")


def _line(answer: Any) -> str:
    facts = {
        "row": answer.row,
        "prompt": answer.prompt,
        "answer": answer.text,
        "finish": answer.finish,
        "tokens": answer.tokens,
    }
    return json.dumps(facts, ensure_ascii=False)
