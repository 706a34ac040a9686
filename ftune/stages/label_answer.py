"""Behind ``ftune generate`` where the model says labels: of one text, or of a file of rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.errors import DataError, RecipeError
from ftune.recipe.view import View
from ftune.registry import FORMATS
from ftune.run import atomic
from ftune.run.progress import Progress
from ftune.run.signals import StopFlag
from ftune.run.stage import Place
from ftune.stages import labelled_testing, labels, prompting, tasked, tasks
from ftune.stages.models import Tuned, load_base, trained
from ftune.stages.target import Found
from ftune.types import Labelled, Prediction, Task

if TYPE_CHECKING:
    from ftune.stages.answer import Ask

KEYS = (
    "data.train",
    "data.max_length",
    "data.on_too_long",
    "evaluate.batch_size",
)


def ask(found: Found, wish: Ask, recipe: View, progress: Progress, as_json: bool) -> None:
    """What is said of the text, or of each row, on standard output or in a file.

    Raises:
        RecipeError: a chat is wanted, or one text where the task needs more.
        DataError: a row can't be read.
    """
    if wish.chat:
        raise RecipeError(
            f"--chat: a model of train.objective: {recipe.train.objective.name} says labels and "
            "does not talk; use --prompt TEXT or --input rows.jsonl"
        )
    tuned, task = _model(found, wish, recipe, progress)
    place = Place(found.folder, wish.allow_remote_code)
    how = labels.Rows(recipe, tuned.tokenizer, place, task)
    if wish.prompt is not None:
        examples = [(1, _single(wish.prompt, recipe, task))]
    else:
        assert wish.input is not None
        examples = list(_rows(wish.input, recipe, task))
    of = tasked.asked(tuned.model, wish.task)
    rows = labelled_testing.LabelledSet(recipe, task)
    for number, example in examples:
        labelled_testing.add(rows, example, how, str(wish.input or "--prompt"), number, of)
    size = recipe.evaluate.batch_size
    said, _ = labelled_testing.measure(
        tuned.model, tuned.tokenizer, rows, (), size, progress, StopFlag()
    )
    if wish.prompt is not None and not as_json:
        print(_plain(said[0], task))
        return
    lines = [json.dumps(_told(one, task), ensure_ascii=False) for one in said]
    if wish.output is None:
        print("\n".join(lines), flush=True)
        return
    atomic.write_text(wish.output, "".join(line + "\n" for line in lines))
    progress.say(f"{len(lines)} answers written to {wish.output}")


def _model(found: Found, wish: Ask, recipe: View, progress: Progress) -> tuple[Tuned, Task]:
    run = found.trained()
    adapter = run.stage("train") / "adapter"
    task = tasks.told_in(adapter)
    assert task is not None
    if wish.base:
        base = load_base(recipe, wish.allow_remote_code, task)
        return Tuned(base, base.model), task
    tuned = trained(recipe, wish.allow_remote_code, adapter, progress)
    place = Place(found.folder, wish.allow_remote_code)
    prompting.check(adapter, recipe, tuned.tokenizer, place, progress)
    return tuned, task


def _single(text: str, recipe: View, task: Task) -> Labelled:
    objective = recipe.train.objective.name
    if objective == "token_classification":
        return Labelled(tuple(text.split()), (task.labels[0],) * len(text.split()))
    if objective in ("classification", "regression"):
        return Labelled((text,), _nothing(recipe, task))
    raise RecipeError(
        f"--prompt: train.objective: {objective} needs more than one text; write rows into a "
        "jsonl file and use --input"
    )


def _nothing(recipe: View, task: Task) -> Any:
    """A label that stands for none."""
    config = recipe.train.objective.config
    if getattr(config, "multi_label", False):
        return ()
    return task.labels[0] if task.labels else "0"


def _rows(path: Path, recipe: View, task: Task) -> Iterator[tuple[int, Labelled]]:
    """The rows of a jsonl file, in the format of the training rows; labels may be left out.

    Raises:
        DataError: the file can't be read, or a row lacks a column.
    """
    from ftune.data.reading_jsonl import rows

    source = recipe.data.train[0]
    form, columns = FORMATS.load(source.format.name), source.format.config
    if path.suffix != ".jsonl":
        raise DataError(f"{path}: give rows as .jsonl, with the columns of the training rows")
    count = 0
    for row in rows(path, str(path)):
        count += 1
        if row.problem is not None:
            raise DataError(f"{path}:{row.number}: {row.problem}")
        value = {**_unlabelled(source.format.name, columns, row.value, recipe, task), **row.value}
        try:
            yield row.number, form.example(value, columns)
        except DataError as error:
            raise DataError(f"{path}:{row.number}: {error}") from error
    if not count:
        raise DataError(f"{path}: holds no row; give one on each line")


def _unlabelled(
    name: str, columns: Any, row: Mapping[str, Any], recipe: View, task: Task
) -> dict[str, Any]:
    """Columns of labels as they stand for none."""
    if name == "tagged":
        return {columns.tags: [task.labels[0]] * len(row.get(columns.tokens) or ())}
    if name == "choices":
        return {columns.label: 0}
    if name == "squad":
        return {columns.answers: {"text": [], "answer_start": []}}
    nothing = _nothing(recipe, task)
    return {columns.label: list(nothing) if nothing == () else nothing}


def _plain(said: Prediction, task: Task) -> str:
    shares = ", ".join(f"{name} {share:.1%}" for name, share in _shares(said, task).items())
    return f"{said.text}  ({shares})" if shares else said.text


def _told(said: Prediction, task: Task) -> dict[str, Any]:
    told = {"row": said.row, "prompt": said.prompt, "answer": said.text}
    shares: Mapping[str, float] | Sequence[float] = _shares(said, task) or said.scores
    return {**told, **({"scores": shares} if shares else {})}


def _shares(said: Prediction, task: Task) -> dict[str, float]:
    if len(said.scores) != len(task.labels):
        return {}
    return dict(zip(task.labels, said.scores, strict=True))
