"""``ftune train``: the whole pipeline, from rows to report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ftune import environment
from ftune.cli.options import Json, Overrides, RecipeFile, RemoteCode
from ftune.errors import RunError

if TYPE_CHECKING:
    from ftune.cli.screen import Screen
    from ftune.recipe.reading import Loaded


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
    rehearse: Annotated[
        bool,
        typer.Option(
            "--rehearse", help="Walk the recipe in miniature first; go on if everything holds."
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
    if rehearse:
        _rehearse(loaded, override or (), trust_remote_code, screen)
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


def _rehearse(loaded: Loaded, given: Sequence[str], allow_code: bool, screen: Screen) -> None:
    """Raises RunError where the rehearsal does not hold."""
    from ftune.cli.rehearse import show
    from ftune.stages.rehearse import rehearse as walk

    found = walk(loaded, given, allow_code, screen)
    show(screen, found)
    if not found.holds:
        raise RunError("the rehearsal did not hold, so the training was not begun; see above")
