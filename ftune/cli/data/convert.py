"""``ftune data convert``: rows from one shape, or kind of file, to another."""

from __future__ import annotations

from typing import Annotated

import typer

from ftune.cli.data.options import Columns, DataFile, Format, Out
from ftune.cli.options import Json
from ftune.errors import RecipeError


def convert(
    data: DataFile,
    out: Out,
    to: Annotated[
        str | None,
        typer.Option("--to", help="The shape to write; without it rows stay as they are."),
    ] = None,
    format: Format = None,
    column: Columns = None,
    json: Json = False,
) -> None:
    """Write rows in another shape (messages, alpaca, sharegpt, prompt_completion, text) or file."""
    from ftune.cli.data.options import need_some, opened, tell_bad
    from ftune.cli.screen import Screen
    from ftune.data.curating.converting import converted, shapes
    from ftune.data.curating.table import Count, plain
    from ftune.data.curating.writing import Writers
    from ftune.errors import DataError

    if to is not None and to not in shapes():
        raise RecipeError(f"--to {to}: is not a shape; there are {', '.join(shapes())}")
    if to is None and (format is not None or column):
        raise RecipeError("--format and --column say how rows are read for --to; give --to as well")
    screen = Screen(json=json)
    count = Count()
    with Writers({"out": out}) as files:
        if to is None:
            for row in plain(data, screen).rows("convert", count):
                files.add("out", row.value)
        else:
            table = opened(data, format, column, screen)
            for row, example in table.examples("convert", count):
                try:
                    files.add("out", converted(example, to))
                except DataError as error:
                    count.add_bad(row, str(error))
        need_some(data, files.counts["out"], count, "written so")
    tell_bad(screen, count, "can't be written so and are left out")
    written = files.counts["out"]
    screen.answer({"rows": count.rows, "bad": count.bad, "written": written, "out": str(out)})
    if not json:
        screen.say(f"{count.rows:,} rows read, {written:,} written to {out}")
