"""``ftune train``: the whole pipeline, from rows to report."""

from __future__ import annotations

from typing import Annotated

import typer

from ftune import environment
from ftune.cli.options import Json, Overrides, RecipeFile, RemoteCode


def train(
    recipe: RecipeFile,
    override: Overrides = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start a new run beside the ones there are.")
    ] = False,
    preview: Annotated[
        bool,
        typer.Option(
            "--preview", help="Show the first rows as tokens, the trained ones marked; stop."
        ),
    ] = False,
    trust_remote_code: RemoteCode = False,
    json: Json = False,
) -> None:
    """Train by a recipe: format, load, train, evaluate, into one run directory.

    The same command again goes on where an interrupted run stopped, and reuses what is done.
    """
    from ftune.cli.screen import Screen
    from ftune.recipe.reading import load_recipe
    from ftune.stages.whole import Wish, train_recipe

    loaded = load_recipe(recipe, override or ())
    if environment.processes()[0]:
        from ftune.stages.together import follow

        follow(loaded, trust_remote_code)
        return
    screen = Screen(json=json)
    wish = Wish(fresh=fresh, only_format=preview, allow_remote_code=trust_remote_code)
    run = train_recipe(loaded, wish, screen)
    if preview:
        from ftune.stages.format import coloured_preview

        screen.preview(
            run.folder,
            lambda: coloured_preview(loaded.recipe, run.stage("format"), trust_remote_code),
        )
    else:
        screen.finish(run.folder)
