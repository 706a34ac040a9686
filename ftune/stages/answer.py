"""Behind ``ftune generate``: a run's model, asked through the template that it was trained with."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.errors import DataError, RecipeError
from ftune.recipe.view import View
from ftune.run import atomic
from ftune.run.progress import Progress
from ftune.run.stage import Place
from ftune.stages import label_answer, labels, prompting, tasked, tasks
from ftune.stages.models import MODEL_KEYS, load_base, trained
from ftune.stages.several import Several, Speaker
from ftune.stages.target import Found
from ftune.types import Message, Task

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
    """What is asked: one of ``prompt``, ``input`` and ``chat``.

    ``speakers`` are several trained parts, the target's own first; none to ask that one alone.
    ``task`` is asked of a model that was trained for several.
    """

    prompt: str | None
    input: Path | None
    output: Path | None
    chat: bool
    base: bool = False
    allow_remote_code: bool = False
    speakers: tuple[Speaker, ...] = ()
    task: str | None = None


def ask(found: Found, wish: Ask, progress: Progress, as_json: bool = False) -> None:
    """Answers on standard output, in a file, or in a chat."""
    from ftune.evaluate.questions import read_questions

    if wish.speakers:
        _ask_several(wish, progress, as_json)
        return
    recipe = View(found.loaded.recipe, "", KEYS, set())
    if tasks.is_labelled(recipe) and not tasks.writes(recipe):
        labelled = View(found.loaded.recipe, "", (*KEYS, *label_answer.KEYS), set())
        label_answer.ask(found, wish, labelled, progress, as_json)
        return
    questions = list(read_questions(wish.input)) if wish.input else []
    if named := next((q for q in questions if q.adapter), None):
        raise RecipeError(
            f"{named.source}:{named.row}: asks the adapter {named.adapter!r}, and no --adapter is "
            "given; name the adapters, or take the key out"
        )
    asked = answerer(found, recipe, wish, progress, {q.task for q in questions})
    if wish.chat:
        from ftune.evaluate.chat import chat

        chat(asked, lambda: input("> "), _show, print)
    elif wish.prompt is not None:
        _one(asked, wish.prompt, as_json)
    else:
        answers = asked.answer_all(questions, recipe.evaluate.batch_size, progress)
        _write(map(_line, answers), len(questions), wish, progress)


def _ask_several(wish: Ask, progress: Progress, as_json: bool) -> None:
    """The same with several adapters.

    Raises:
        DataError: a row names none of them.
    """
    from ftune.evaluate.questions import read_questions

    if wish.task:
        raise RecipeError("--adapter and --task: ask a run of several tasks by itself")
    if wish.base:
        raise RecipeError("--adapter and --base: the base is asked without adapters; take one")
    questions = list(read_questions(wish.input)) if wish.input else []
    names = {s.name for s in wish.speakers}
    for q in questions:
        if q.adapter and q.adapter not in names:
            raise DataError(
                f"{q.source}:{q.row}: there is no adapter {q.adapter!r}; there are "
                f"{', '.join(sorted(names))}"
            )
    voices = Several(wish.speakers, KEYS, wish.allow_remote_code, progress)
    if wish.chat:
        from ftune.evaluate.chat import chat

        chat(voices.use(voices.names[0]), lambda: input("> "), _show, print, voices)
    elif wish.prompt is not None:
        for name in voices.names:
            if not as_json:
                print(f"[{name}]")
            _one(voices.use(name), wish.prompt, as_json, name)
    else:
        _write(_of_each(voices, questions, progress), len(questions), wish, progress)


def _of_each(voices: Several, questions: Sequence[Any], progress: Progress) -> Iterator[str]:
    """The answers' lines in the order of the questions; each adapter is put on once."""
    lines: dict[int, str] = {}
    for name in voices.names:
        places = [i for i, q in enumerate(questions) if (q.adapter or voices.names[0]) == name]
        if not places:
            continue
        asked = voices.use(name)
        size = voices.batch_size(name)
        answers = asked.answer_all([questions[i] for i in places], size, progress)
        lines.update({i: _line(a, name) for i, a in zip(places, answers, strict=True)})
    yield from (lines[i] for i in range(len(questions)))


def answerer(
    found: Found, recipe: View, wish: Ask, progress: Progress, tasks_named: Collection[str] = ()
) -> Answerer:
    """The run's model, or its base, with the template that it was trained with.

    Raises:
        ModelError: prompts would not be rendered as in training.
        RecipeError: the model has no such task, or a task is missing.
    """
    if wish.base:
        base = load_base(recipe, wish.allow_remote_code, _task(recipe))
        model, tokenizer = base.model, base.tokenizer
    else:
        adapter = found.trained().stage("train") / "adapter"
        tuned = trained(recipe, wish.allow_remote_code, adapter, progress)
        model, tokenizer = tuned.model, tuned.tokenizer
        place = Place(found.folder, wish.allow_remote_code)
        prompting.check(adapter, recipe, tokenizer, place, progress)
    # Questions may each name theirs; only one that names none needs that of the command line.
    own = [t for t in tasks_named if t]
    for task in own:
        tasked.asked(model, task)
    needed = not own or "" in tasks_named or wish.task
    task = tasked.asked(model, wish.task) if needed else ""
    return made(model, tokenizer, recipe, found.folder, task)


def made(model: Any, tokenizer: Any, recipe: View, home: Path, task: str = "") -> Answerer:
    """``model`` with the recipe's template, whose path starts at ``home``, and generation."""
    from ftune.data.render import prompt_text
    from ftune.data.rules import Rules
    from ftune.data.templating import load_template
    from ftune.evaluate.answering import Answerer

    template = load_template(recipe.data.template, tokenizer, recipe.data.system_prompt, home)
    rules = Rules.of(recipe.data)

    if tasks.writes(recipe):
        rows = labels.Rows(recipe, tokenizer, Place(home), Task("seq2seq_lm"))
        return Answerer(model, tokenizer, rows.prompt, recipe.evaluate.generation, task=task)

    def render(messages: tuple[Message, ...]) -> Sequence[int]:
        return prompt_text(messages, template, rules).ids

    return Answerer(
        model, tokenizer, render, recipe.evaluate.generation, template.stop, template.stop_ids, task
    )


def _task(recipe: View) -> Task | None:
    return Task("seq2seq_lm") if tasks.writes(recipe) else None


def _show(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()


def _one(answerer: Answerer, prompt: str, as_json: bool, adapter: str = "") -> None:
    messages = (Message("user", prompt),)
    if as_json:
        print(_line(answerer.answer(messages), adapter))
    else:
        answerer.answer(messages, _show)
        print()


def _write(lines: Iterator[str], count: int, wish: Ask, progress: Progress) -> None:
    if wish.output is None:
        for line in lines:
            print(line, flush=True)
        return

    def fill(path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)

    atomic.write(wish.output, fill)
    progress.say(f"{count} answers written to {wish.output}")


def _line(answer: Any, adapter: str = "") -> str:
    facts = {
        "row": answer.row,
        "prompt": answer.prompt,
        "answer": answer.text,
        "finish": answer.finish,
        "tokens": answer.tokens,
    }
    if adapter:
        facts["adapter"] = adapter
    return json.dumps(facts, ensure_ascii=False)
