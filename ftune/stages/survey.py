"""A recipe's rows as it would train and test them: surveyed, and its splits held side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ftune.recipe.reading import Loaded
from ftune.recipe.view import View
from ftune.run.progress import Progress
from ftune.run.stage import Place
from ftune.stages.rendering import rendering
from ftune.stages.rows import SPLITS, ledger_of, rows_of, sources_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ftune.data.collect import Taken
    from ftune.data.curating.survey import Survey
    from ftune.data.ledger import Ledger

KEYS = ("model", "data", "train.seed", "train.objective")


def splits_of(loaded: Loaded) -> tuple[str, ...]:
    """The splits that the recipe gives rows to."""
    view = view_of(loaded)
    return tuple(split for split in SPLITS if sources_of(view, split))


def survey(
    loaded: Loaded, split: str, progress: Progress, allow_code: bool
) -> tuple[Survey, Ledger]:
    """What the rows of a split are made of, rendered and counted as for training.

    Raises:
        DataError: a row is bad and the recipe says to stop.
        ModelError: the tokenizer can't be loaded.
    """
    from ftune.data.collect import tokenized
    from ftune.data.curating.survey import Survey
    from ftune.model.loading import load_tokenizer

    view, place = view_of(loaded), _place(loaded, allow_code)
    tokenizer = load_tokenizer(view.model, allow_code)
    how = rendering(view, tokenizer, place)
    ledger, found = ledger_of(view, split), Survey()
    taken = rows_of(view, split, place, ledger)
    with progress.meter(f"survey {split}", None, "rows") as meter:
        made = tokenized(taken, how.encode, view.data.on_bad_row, ledger)
        for number, (one, tokens) in enumerate(made, 1):
            found.add(one.example, tokens)
            meter.update(number)
    ledger.balance()
    return found, ledger


def examples(loaded: Loaded, split: str, progress: Progress) -> Iterator[Taken]:
    """The examples of a split, before they are rendered."""
    view, place = view_of(loaded), _place(loaded, allow_code=False)
    with progress.meter(f"read {split}", None, "rows") as meter:
        for number, one in enumerate(rows_of(view, split, place, ledger_of(view, split)), 1):
            meter.update(number)
            yield one


def view_of(loaded: Loaded) -> View:
    """What of the recipe is read here."""
    return View(loaded.recipe, "", KEYS, set())


def _place(loaded: Loaded, allow_code: bool) -> Place:
    return Place(Path(loaded.path).parent, allow_code)
