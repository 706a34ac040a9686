"""``ftune data dedup``: a file without its repeated rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftune.cli.data.options import Columns, DataFile, Format
from ftune.cli.options import Json
from ftune.errors import RecipeError


def dedup(
    data: DataFile,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the rows that stay; without it they are only counted."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Compare this column only (can be given several times)."),
    ] = None,
    near: Annotated[
        float | None,
        typer.Option(
            "--near", help="Also take out rows that share so much of their word groups, as 0.8."
        ),
    ] = None,
    format: Format = None,
    column: Columns = None,
    json: Json = False,
) -> None:
    """Keep the first of rows that are equal and, with --near, of rows that are nearly so."""
    from ftune.cli.data.options import opened, tell_bad
    from ftune.cli.screen import Screen
    from ftune.data.curating.deduplicating import deduplicate
    from ftune.data.curating.table import plain

    if near is not None and not 0.1 <= near <= 1:
        raise RecipeError(f"--near {near}: must be from 0.1 to 1")
    if near is None and (format is not None or column):
        raise RecipeError("--format and --column say what --near compares; give --near as well")
    screen = Screen(json=json)
    table = plain(data, screen) if near is None else opened(data, format, column, screen)
    found = deduplicate(table, out, by or (), near)
    tell_bad(screen, found.read, "can't be read and are left out")
    pairs = {"equal": found.equal_pairs, "alike": found.alike_pairs}
    screen.answer(
        {
            "rows": found.read.rows,
            "bad": found.read.bad,
            "equal": found.equal,
            "alike": found.alike,
            "kept": found.kept,
            "out": None if out is None else str(out),
            "first_pairs": {name: [list(pair) for pair in each] for name, each in pairs.items()},
        }
    )
    if not json:
        for name, each in pairs.items():
            for row, first in each:
                screen.say(f"  row {row} is {name} to row {first}".replace("alike to", "like"))
        gone = f"{found.equal:,} equal" + (f", {found.alike:,} alike" if near is not None else "")
        screen.say(f"{found.read.rows:,} rows: {gone}, {found.kept:,} stay")
        screen.say(f"written: {out}" if out else "nothing was written; --out FILE writes them")
