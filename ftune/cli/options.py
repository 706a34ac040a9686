"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")]
Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET", help="A run's folder, `name` or `name/id` of a run, or a recipe."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--override", "-o", metavar="KEY=VALUE", help="Set a key, such as train.learning_rate=1e-4."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON on standard output.")]
RunsDir = Annotated[
    Path, typer.Option("--runs-dir", help="Where runs stand that are named by name or id.")
]
RemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Let code that comes with the model run, if the recipe says so too.",
    ),
]
