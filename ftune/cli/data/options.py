"""Arguments and options of the verbs of ``ftune data``, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftune.errors import DataError, RecipeError

if TYPE_CHECKING:
    from ftune.cli.screen import Screen
    from ftune.data.curating.table import Count, Table

DataFile = Annotated[str, typer.Argument(metavar="DATA", help="A data file, or a hub id.")]
DataOrRecipe = Annotated[
    str, typer.Argument(metavar="DATA", help="A data file, a hub id, or a recipe (.yaml).")
]
Format = Annotated[
    str | None, typer.Option("--format", help="The shape of its rows; by default it is found out.")
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="OURS=THEIRS", help="A column of the format, and its name."),
]
Out = Annotated[Path, typer.Option("--out", help="The file to write: jsonl, csv, tsv, parquet.")]


def is_recipe(target: str) -> bool:
    """Whether a file is named that can only be a recipe."""
    return target.endswith((".yaml", ".yml"))


def opened(path: str, form: str | None, columns: Sequence[str] | None, screen: Screen) -> Table:
    """The file with its format; says on the screen which was found.

    Raises:
        DataError: see ``table.opened``.
        RecipeError: an option is not as it must be.
    """
    from ftune.data.curating import table

    given = {}
    for pair in columns or ():
        ours, equals, theirs = pair.partition("=")
        if not equals or not ours or not theirs:
            raise RecipeError(f"--column {pair}: write OURS=THEIRS, such as output=answer")
        given[ours] = theirs
    found = table.opened(path, form, given, screen)
    if form is None:
        named = found.source.format
        names = named.config.model_dump(exclude_defaults=True)
        said = "".join(f", {ours} from column {theirs}" for ours, theirs in names.items())
        screen.say(f"{path}: read as {named.name}{said}")
    return found


def tell_bad(screen: Screen, count: Count, what: str) -> None:
    """Warns of the rows that could not be used, and names the first."""
    if count.bad:
        screen.warn(f"{count.bad:,} of {count.rows:,} rows {what}:")
        for line in count.named:
            screen.warn(f"  {line}")


def need_some(path: str, used: int, count: Count, what: str = "read") -> None:
    """Raises DataError if no row could be used; ``what`` is what could not be done with them."""
    if not used:
        why = f"; the first: {count.named[0]}" if count.named else ""
        raise DataError(f"{path}: none of its {count.rows} rows can be {what}{why}")
