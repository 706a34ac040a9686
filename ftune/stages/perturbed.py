"""Test rows with small changes to what is asked, while what is right to answer stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from ftune.recipe.view import View
from ftune.run.stage import Place
from ftune.stages.labelled_testing import LabelledSet, encoded
from ftune.stages.labels import Rows
from ftune.stages.rows import ledger_of, rows_of
from ftune.stages.tasked import names_of
from ftune.stages.testing import TestSet, rendered
from ftune.types import Example, Labelled, Task

if TYPE_CHECKING:
    from ftune.data.collect import Taken

NAMED = "evaluate.robustness ({})"


@dataclass(frozen=True)
class Perturbed:
    """The rows with one kind of changes; ``changed`` of them are another question than before."""

    kind: str
    rows: TestSet | LabelledSet
    changed: int


def of_prompts(recipe: View, split: str, template: Any, place: Place) -> list[Perturbed]:
    """The rows of a split, as prompts, once for each kind of ``evaluate.robustness``.

    One that only the change makes too long is no error, but left out.

    Raises:
        DataError: a row can't be read, or none is left.
    """
    found, tasks = [], names_of(recipe, split)
    for kind in recipe.evaluate.robustness:
        ledger, changes, named = ledger_of(recipe, split), _Changes(kind), NAMED.format(kind)
        taken = changes.of(rows_of(recipe, split, place, ledger), recipe.train.seed)
        rows = rendered(taken, recipe, template, ledger, named, tasks, on_bad_row="skip")
        found.append(Perturbed(kind, rows, changes.count))
    return found


def of_labels(
    recipe: View, split: str, tokenizer: Any, place: Place, task: Task
) -> list[Perturbed]:
    """The same of rows that a model with a ``task`` of its own is asked.

    Raises:
        DataError: a row can't be read, or none is left.
    """
    kinds = recipe.evaluate.robustness
    if not kinds:
        return []
    found, tasks, how = [], names_of(recipe, split), Rows(recipe, tokenizer, place, task)
    for kind in kinds:
        ledger, changes, named = ledger_of(recipe, split), _Changes(kind, how), NAMED.format(kind)
        taken = changes.of(rows_of(recipe, split, place, ledger), recipe.train.seed)
        rows = encoded(taken, recipe, how, ledger, named, tasks, on_bad_row="skip")
        found.append(Perturbed(kind, rows, changes.count))
    return found


@dataclass
class _Changes:
    """One kind of changes, and how many rows it changed."""

    kind: str
    how: Rows | None = None
    count: int = 0

    def of(self, taken: Iterator[Taken], seed: int) -> Iterator[Taken]:
        """The rows, changed by draws from the seed, the source and the row."""
        for one in taken:
            place = f"{seed}:{one.source}:{one.row}"
            if isinstance(one.example, Example):
                example: Any = with_question(one.example, self.kind, place)
            else:
                assert self.how is not None
                example = with_text(one.example, self.kind, place, self.how)
            self.count += example != one.example
            yield replace(one, example=example)


def with_question(example: Example, kind: str, seed: str) -> Example:
    """The example with its last question perturbed; demonstrations, earlier turns and what is right
    stay as they are."""
    from ftune.evaluate.perturbing import perturbed

    places = [i for i, m in enumerate(example.messages) if m.role == "user" and not m.shown]
    if not places:
        return example
    asked = example.messages[places[-1]]
    before = asked.content[: len(asked.content) - len(asked.own)]
    content = before + perturbed(asked.own, kind, seed)
    context = perturbed(asked.context, kind, f"{seed}:context")
    messages = list(example.messages)
    messages[places[-1]] = replace(asked, content=content, context=context)
    return replace(example, messages=tuple(messages))


def with_text(example: Labelled, kind: str, seed: str, how: Rows) -> Labelled:
    """The example with its texts perturbed, each by a draw of its own, as far as what is right to
    say of them stays so."""
    from ftune.evaluate.perturbing import perturbed

    numbers = count()
    return how.reworded(example, lambda text: perturbed(text, kind, f"{seed}:{next(numbers)}"))
