"""Answers to questions that come from a person or a file: the core of ``ftune generate``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ftune.errors import RunError
from ftune.evaluate.decoding import AnswerText
from ftune.evaluate.predicting import Engine, generate
from ftune.evaluate.questions import Question
from ftune.recipe.schema import Generation
from ftune.run.progress import Progress
from ftune.types import Message, Prediction, Prompt

Render = Callable[[tuple[Message, ...]], Sequence[int]]  # messages -> ids, up to the answer's place


class Answerer:
    """A loaded model with its tokenizer, its template and the recipe's way of generating.

    ``render`` writes messages as the model knows them; ``stop`` and ``stop_ids`` come from the
    template. ``task`` is asked where a question names none.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        render: Render,
        generation: Generation,
        stop: tuple[str, ...] = (),
        stop_ids: tuple[int, ...] = (),
        task: str = "",
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.render = render
        self.generation = generation
        self.stop = stop
        self.stop_ids = stop_ids
        self.task = task

    def answer(
        self,
        messages: tuple[Message, ...],
        show: Callable[[str], object] = lambda _: None,
        key: int = 0,
    ) -> Prediction:
        """One answer. ``show`` is handed its text piece by piece as it comes; together they are it.

        ``key`` names the random numbers of a sampled answer: another key, another draw.

        Raises:
            DataError: the messages leave no room for an answer in the model's context.
            RunError: there isn't enough memory.
        """
        engine = Engine(self.model, self.tokenizer, self.generation, self.stop, self.stop_ids)
        prompt = self._prompt(Question(messages))
        engine.check(prompt)
        live = _Live(engine.text, prompt.ids, show)
        # With several beams nothing is certain before the end.
        streamer = live if self.generation.num_beams == 1 else None
        found = engine.answer([prompt], [key], streamer)
        if found is None:
            raise RunError(
                f"there isn't memory for an answer to {len(prompt.ids):,} tokens; "
                "ask for less with -o evaluate.generation.max_new_tokens=..., or begin anew"
            )
        live.finish(found[0].text)
        return found[0]

    def answer_all(
        self, questions: Sequence[Question], batch_size: int, progress: Progress | None = None
    ) -> Iterator[Prediction]:
        """Answers in the order of the questions, ``batch_size`` at once; errors as ``generate``."""
        return generate(
            self.model,
            self.tokenizer,
            [self._prompt(question) for question in questions],
            self.generation,
            self.stop,
            self.stop_ids,
            batch_size,
            progress,
        )

    def _prompt(self, question: Question) -> Prompt:
        return Prompt(
            ids=self.render(question.messages),
            text=question.messages[-1].content,
            source=question.source,
            row=question.row,
            task=question.task or self.task,
        )


class _Live:
    """What ``generate`` hands new tokens to; shows the text that nothing can take back any more."""

    def __init__(
        self, text: AnswerText, prompt_ids: Sequence[int], show: Callable[[str], object]
    ) -> None:
        self.text = text
        self.prompt_ids = prompt_ids
        self.show = show
        self.ids: list[int] | None = None
        self.shown = ""

    def put(self, value: Any) -> None:
        """Takes the prompt first, and then each token."""
        if self.ids is None:
            self.ids = []
            return
        self.ids.extend(value.flatten().tolist())
        text, end, _ = self.text.read(self.prompt_ids, self.ids)
        self.finish(text if end == "stop" else self.text.settled(text))

    def end(self) -> None:
        """The rest is shown by ``finish``, when the whole answer is known."""

    def finish(self, text: str) -> None:
        """Shows what of ``text`` has not been shown."""
        if len(text) > len(self.shown) and text.startswith(self.shown):
            self.show(text[len(self.shown) :])
            self.shown = text
