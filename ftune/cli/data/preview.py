"""``ftune data preview``: the first rows as a format reads them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ftune.cli.data.options import Columns, DataOrRecipe, Format, is_recipe, need_some, opened
from ftune.cli.data.options import tell_bad as tell_bad_rows
from ftune.cli.options import Json, Overrides, RemoteCode


def preview(
    data: DataOrRecipe,
    override: Overrides = None,
    format: Format = None,
    column: Columns = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many (of a file).")] = 3,
    trust_remote_code: RemoteCode = False,
    json: Json = False,
) -> None:
    """The first rows as turns; of a recipe as tokens, with those that are trained marked."""
    if is_recipe(data):
        from pathlib import Path

        from ftune.cli.train import train

        train(
            Path(data),
            override,
            preview=True,
            trust_remote_code=trust_remote_code,
            json=json,
        )
        return
    from ftune.cli.screen import Screen
    from ftune.data.curating.table import Count

    screen = Screen(json=json)
    table = opened(data, format, column, screen)
    found: list[dict[str, Any]] = []
    count = Count()
    for row, example in table.examples("read", count):
        turns = [
            {"role": m.role, "content": m.content, **({"context": m.context} if m.context else {})}
            for m in example.messages
        ]
        found.append({"row": row.number, "turns": turns, "references": list(example.references)})
        if len(found) == rows:
            break
    need_some(data, len(found), count)
    tell_bad_rows(screen, count, "read so far can't be used")
    screen.answer(found)
    if not json:
        for one in found:
            screen.say(f"\nrow {one['row']}")
            for turn in one["turns"]:
                screen.say(f"  {turn['role']}: {turn['content']}")
                if "context" in turn:
                    screen.say(f"    with: {turn['context']}")
            for reference in one["references"]:
                screen.say(f"  also right: {reference}")
