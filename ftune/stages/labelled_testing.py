"""Labelled test rows, and a model's figures on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ftune.errors import DataError
from ftune.recipe.view import View
from ftune.registry import ANSWERS
from ftune.run.progress import Progress
from ftune.run.signals import StopFlag
from ftune.run.stage import Place
from ftune.stages import tasks, written_testing
from ftune.stages.holding import held
from ftune.stages.labels import Rows
from ftune.stages.ranking import Options
from ftune.stages.rows import ledger_of, rows_of
from ftune.stages.tasked import batch_with, names_of
from ftune.types import Encoded, Example, Labelled, Metric, Prediction, Prompt, Task

if TYPE_CHECKING:
    from ftune.data.collect import OnBadRow, Taken
    from ftune.data.ledger import Ledger
    from ftune.evaluate.cost import Cost


@dataclass
class LabelledSet:
    """Rows of one split, in order: ``tokens[i]`` and ``asked[i]`` belong to ``prompts[i]``."""

    recipe: View
    task: Task
    prompts: list[Prompt] = field(default_factory=list)
    tokens: list[Encoded] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    right: list[tuple[str, ...]] = field(default_factory=list)  # labels
    options: list[Options] = field(default_factory=list)  # answers to be ranked
    ledger: dict[str, Any] = field(default_factory=dict)


def read_rows(recipe: View, split: str, tokenizer: Any, place: Place, task: Task) -> LabelledSet:
    """The rows of ``data.<split>`` with what is right to say of them.

    Raises:
        DataError: no row is left, or one can't be used and the recipe says to stop.
    """
    ledger, how = ledger_of(recipe, split), Rows(recipe, tokenizer, place, task)
    taken = rows_of(recipe, split, place, ledger)
    return encoded(taken, recipe, how, ledger, f"data.{split}", names_of(recipe, split))


def encoded(
    taken: Iterable[Taken],
    recipe: View,
    how: Rows,
    ledger: Ledger,
    named: str,
    of_tasks: Sequence[str],
    on_bad_row: OnBadRow | None = None,
) -> LabelledSet:
    """Examples as tokens with what is right to say of them, each one counted.

    ``named`` is the recipe's key of them, ``of_tasks`` are the tasks of the sources, and
    ``on_bad_row`` says what becomes of bad ones, if not ``data.on_bad_row``.

    Raises:
        DataError: no row is left, or one can't be used and the recipe says to stop.
    """
    from ftune.data.collect import tokenized

    rows, policy = LabelledSet(recipe, how.task), on_bad_row or recipe.data.on_bad_row
    for one, tokens in tokenized(taken, how.encode, policy, ledger):
        assert isinstance(tokens, Encoded)
        source = ledger[one.source].source
        _take(rows, one.example, tokens, how, source, one.row, of_tasks[one.source])
    ledger.balance()
    if not rows.prompts:
        raise DataError(
            f"{named}: no row is left to evaluate ({ledger.total.read} read); an evaluation "
            "of nothing has no figures: check the source, or leave it out"
        )
    rows.ledger = ledger.total.to_json()
    return rows


def add(
    rows: LabelledSet, example: Labelled, how: Rows, source: str, number: int, task: str = ""
) -> None:
    """Adds a row of a file, of a task where the model knows several.

    Raises:
        DataError: it can't be written as tokens, or is too long.
    """
    [tokens] = how.encode([example])
    if isinstance(tokens, DataError):
        raise DataError(f"{source}:{number}: {tokens}") from tokens
    if not isinstance(tokens, Encoded):
        raise DataError(
            f"{source}:{number}: it can't be asked: {tokens.reason}; give it text that the "
            "tokenizer knows, no longer than data.max_length"
        )
    _take(rows, example, tokens, how, source, number, task)


def _take(
    rows: LabelledSet,
    example: Labelled,
    tokens: Encoded,
    how: Rows,
    source: str,
    number: int,
    task: str,
) -> None:
    tokens = replace(tokens, ids=held(tokens.ids), kinds=held(tokens.kinds))
    ids = tokens.ids[: tokens.lines[0]] if tasks.writes(rows.recipe) else tokens.ids
    said = how.reference(example)
    prompt = Prompt(ids, _shown(example), said, source, number, task=task)
    if isinstance(example, Example):
        prompt = replace(prompt, choices=example.choices)
        try:
            rows.options.append(how.options(example, rows.recipe.evaluate.metrics))
        except DataError as error:
            raise DataError(f"{source}:{number}: {error}") from error
    rows.prompts.append(prompt)
    rows.tokens.append(tokens)
    rows.asked.append(how.asked(example))
    rows.right.append(how.right(example))


def _shown(example: Labelled | Example) -> str:
    if isinstance(example, Example):  # all but the answer
        return "\n".join(message.content for message in example.messages[:-1])
    if len(example.texts) > 2 and isinstance(example.target, tuple):  # words with their tags
        return " ".join(example.texts)
    return "\n".join(example.texts)


def measure(
    model: Any, tokenizer: Any, rows: LabelledSet, chosen: Sequence[Any], size: int,
    progress: Progress, stop: StopFlag, cost: Cost | None = None,
) -> tuple[list[Prediction], list[Metric]]:  # fmt: skip
    """What the model says of all rows, and the chosen metrics over that."""
    from functools import partial

    import numpy as np

    from ftune.data.batching import in_order
    from ftune.data.collating_labels import collate_labelled
    from ftune.evaluate.cost import Cost
    from ftune.evaluate.labelling import label
    from ftune.evaluate.scoreboard import score_all
    from ftune.run.pipeline import stop_between

    between = partial(stop_between, stop, "the evaluation was complete")
    cost = cost or Cost()
    if tasks.writes(rows.recipe):
        return written_testing.measure(
            model, tokenizer, rows, chosen, size, progress, between, cost
        )
    cost.add(prompts=len(rows.prompts), prompt_tokens=sum(len(one.ids) for one in rows.tokens))
    objective = tasks.objective(rows.recipe)
    config = rows.recipe.train.objective.config
    answers = ANSWERS.load(rows.recipe.train.objective.name)

    def said(logits: Any, batch: Any) -> Any:
        asked = [rows.asked[row] for row in batch.rows]
        return answers.said(logits, batch, rows.task.labels, config, asked)

    lengths = np.array([len(one.ids) for one in rows.tokens])
    collate = partial(
        collate_labelled, read=rows.tokens.__getitem__, pad_id=tokenizer.pad_token_id or 0
    )
    plain = (collate(micro) for micro in in_order(lengths, size))
    batches = (batch_with(b, model, [rows.prompts[at].task for at in b.rows]) for b in plain)
    total = len(rows.tokens)
    with cost.of(model.get_input_embeddings().weight.device):
        found = dict(label(model, batches, objective.logits, said, total, progress, between))
    predictions = [
        Prediction(
            row=prompt.row,
            prompt=prompt.text,
            text=found[at].text,
            references=prompt.references,
            source=prompt.source,
            finish="stop",
            scores=found[at].scores,
            labels_said=found[at].labels,
            labels_right=rows.right[at],
            multi_label=getattr(config, "multi_label", False),
        )
        for at, prompt in enumerate(rows.prompts)
    ]
    return predictions, score_all(chosen, predictions)
