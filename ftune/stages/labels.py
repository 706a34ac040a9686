"""Labelled rows of a recipe: which labels there are, and the rows as tokens and targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.errors import DataError, ModelError, RecipeError
from ftune.recipe.view import View
from ftune.registry import ENCODINGS
from ftune.run import atomic
from ftune.run.progress import Progress
from ftune.run.stage import Place
from ftune.stages import tasks
from ftune.stages.ranking import Options, answered, choices, option
from ftune.stages.rows import ledger_of, rows_of
from ftune.types import Encoded, Example, Labelled, Message, Task

if TYPE_CHECKING:
    from types import ModuleType

VERSION = 1
PROVED = 3  # rows that go with what was trained, so that others can be written alike
LONGEST = 2000  # characters of a text that are kept there


def task(recipe: View, place: Place) -> Task:
    """What the model is for, with the labels of the training rows.

    Raises:
        DataError: a row is bad and the recipe says to stop, or none has a label.
    """
    from ftune.data.labels import found

    kind = tasks.objective(recipe).KIND
    config = recipe.train.objective.config
    encoding = ENCODINGS.load(recipe.train.objective.name)
    if not hasattr(config, "labels"):
        return Task(kind)
    counts = found(_labels(recipe, place, encoding), config.labels)
    if len(counts) < 2 and not getattr(config, "multi_label", False):
        raise DataError(
            f"data.train: all rows have the label {next(iter(counts))!r}, so there is nothing to "
            "tell apart; check the column of labels"
        )
    return Task(kind, tuple(counts), tuple(counts.values()))


def _labels(recipe: View, place: Place, encoding: ModuleType) -> Iterator[str]:
    ledger = ledger_of(recipe, "train")
    for one in rows_of(recipe, "train", place, ledger):
        try:
            yield from encoding.labels(one.example, recipe.train.objective.config)
        except DataError as error:
            if recipe.data.on_bad_row == "error":
                where = f"{ledger[one.source].source}:{one.row}"
                raise DataError(f"{where}: {error}; or set data.on_bad_row: skip") from error


class Rows:
    """Rows as tokens and targets, and what answers have to be compared with."""

    def __init__(self, recipe: View, tokenizer: Any, place: Place, task: Task) -> None:
        """Raises RecipeError where the model's positions end before ``data.max_length``."""
        from ftune.data.rules import Rules
        from ftune.data.wholes import Wholes

        self.task = task
        self._config = recipe.train.objective.config
        self._encoding = ENCODINGS.load(recipe.train.objective.name)
        self._tokenizer = tokenizer
        self._template = _template(recipe, tokenizer, place)
        self._wholes = Wholes(tokenizer, Rules.of(recipe.data), self._template)
        self._proved: list[tuple[str, ...]] = []
        _check_length(recipe, tokenizer, place)

    def encode(self, examples: Sequence[Any]) -> Any:
        """The tokens of each, or why there are none."""
        return self._encoding.encode(examples, self._wholes, self.task.labels, self._config)

    def reference(self, example: Labelled) -> tuple[str, ...]:
        """What is right to say of it."""
        found: tuple[str, ...] = self._encoding.reference(example, self._config)
        return found

    def reworded(self, example: Labelled, change: Callable[[str], str]) -> Labelled:
        """The example with its text changed as far as what is right to say of it stays so."""
        found: Labelled = self._encoding.reworded(example, change)
        return found

    def right(self, example: Labelled) -> tuple[str, ...]:
        """The labels that are right of all of it; empty where the objective knows no such ones."""
        told = getattr(self._encoding, "right", None)
        return () if told is None else tuple(told(example, self._config))

    def asked(self, example: Labelled) -> Any:
        """What an answer has to know of it besides its tokens."""
        return self._encoding.asked(example, self._wholes, self._config)

    def options(self, example: Example, chosen: Sequence[Any]) -> Options:
        """The answers that metrics want ranked behind an example's question.

        Raises:
            DataError: one of them is too long, or has no token.
        """
        ends = (self._tokenizer.eos_token_id,)
        found = []
        for text in choices(chosen, example):
            [made] = self.encode([answered(example, text)])
            if not isinstance(made, Encoded):
                why = made if isinstance(made, DataError) else made.reason
                raise DataError(f"its choice {text!r} can't be ranked: {why}")
            found.append(option(text, made.ids[made.lines[0] :], ends))
        return tuple(found)

    def note(self, example: Labelled) -> None:
        """Keeps the first rows for the contract."""
        texts = tuple(text[:LONGEST] for text in example.texts)
        if len(self._proved) < PROVED and texts not in self._proved:
            self._proved.append(texts)

    def contract(self) -> dict[str, Any]:
        """What prompting.json holds."""
        return contract(self.task, self._tokenizer, self._proved, self._template)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """What is asked after these messages; of an objective that writes."""
        found: list[int] = self._encoding.prompt(messages, self._wholes)
        return found


def _template(recipe: View, tokenizer: Any, place: Place) -> Any:
    """The recipe's template, where the objective's rows are written by one."""
    if not tasks.writes(recipe):
        return None
    from ftune.data.templating import load_template

    return load_template(recipe.data.template, tokenizer, recipe.data.system_prompt, place.folder)


def _check_length(recipe: View, tokenizer: Any, place: Place) -> None:
    from ftune.model.resolve import locate
    from ftune.model.weights import read_json

    code = recipe.model.trust_remote_code and place.allow_remote_code
    located = locate(recipe.model.name_or_path, recipe.model.revision, code)
    positions = read_json(located.folder, "config.json").get("max_position_embeddings")
    most = min(positions or 10**9, tokenizer.model_max_length or 10**9)
    if recipe.data.max_length > most:
        raise RecipeError(
            f"data.max_length: {recipe.data.max_length} is more than the {most} tokens that "
            f"{located.name} can read; set data.max_length: {most}, and data.on_too_long: truncate "
            "where rows may be longer"
        )


def contract(
    task: Task, tokenizer: Any, rows: Sequence[tuple[str, ...]], template: Any = None
) -> dict[str, Any]:
    """The task, and how a few rows are written as tokens."""
    from ftune.data.encoding import Encoder
    from ftune.data.tokenizer_identity import digest, identity

    encoder = Encoder(tokenizer)

    def ids(texts: tuple[str, ...]) -> list[int]:
        if len(texts) > 2:  # words, or choices
            return list(encoder.framed(*encoder.split([list(texts)], words=True)).ids)
        return list(encoder.framed(*encoder.split(texts)).ids)

    return {
        "version": VERSION,
        "task": tasks.plain(task),
        "tokenizer": identity(tokenizer),
        "template": None if template is None else digest(template.source),
        "prompts": [{"texts": list(texts), "ids": ids(texts)} for texts in rows],
    }


def check(folder: Path, recipe: View, tokenizer: Any, place: Place, progress: Progress) -> None:
    """Refuses to ask the model in ``folder`` otherwise than it was trained.

    Raises:
        ModelError: it was trained for something else, or rows are written as other tokens.
    """
    path = folder / tasks.CONTRACT
    if not path.is_file():
        progress.warn(
            f"{folder}: has no {tasks.CONTRACT} (it was not saved by ftune), so nobody can tell "
            "whether rows are written as in training"
        )
        return
    told = atomic.read_json(path)
    kind = tasks.objective(recipe).KIND
    if told.get("task", {}).get("kind") != kind:
        was = told.get("task", {}).get("kind", "causal_lm")
        raise ModelError(f"{path}: was trained as {was}, and the recipe's objective is for {kind}")
    rows = [tuple(one["texts"]) for one in told["prompts"]]
    template = _template(recipe, tokenizer, place)
    now = contract(tasks.read(told["task"]), tokenizer, rows, template)
    if now["template"] != told.get("template"):
        raise ModelError(
            f"{path}: questions would not be written as in training: the template is another, or "
            "was changed since; put it back, or train again"
        )
    if now["prompts"] != told["prompts"]:
        raise ModelError(
            f"{path}: rows would not be written as in training: the tokenizer has changed since; "
            "take the one that is saved beside the adapter"
        )
