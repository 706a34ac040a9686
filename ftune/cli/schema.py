"""``ftune schema``: the recipe's JSON schema, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def schema(
    output: Annotated[
        Path | None, typer.Option("--output", help="Write it to this file instead of the screen.")
    ] = None,
) -> None:
    """Print the JSON schema of recipes, which editors use to complete and check them.

    A recipe names it in its first line: # yaml-language-server: $schema=schema.json
    """
    from ftune.recipe.reference import schema_text

    if output is None:
        typer.echo(schema_text(), nl=False)
        return
    from ftune.run.atomic import write_text

    write_text(output, schema_text())
    typer.echo(f"wrote {output}")
