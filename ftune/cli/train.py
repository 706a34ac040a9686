"""``ftune train``: the whole pipeline, from rows to report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ftune import environment
from ftune.cli.options import Json, Overrides, RecipeFile, RemoteCode
from ftune.errors import RecipeError, RunError
from ftune.run import parent
from ftune.run.launching import launch

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
    processes: Annotated[
        int,
        typer.Option(
            "--processes", min=1, help="Train in so many processes on this machine, one for a GPU."
        ),
    ] = 1,
    trust_remote_code: RemoteCode = False,
    json: Json = False,
) -> None:
    """Train by a recipe: format, load, train, evaluate, into one run directory.

    The same command again goes on where an interrupted run stopped, and reuses what is done.
    """
    from ftune.cli.screen import Screen
    from ftune.recipe.reading import load_recipe
    from ftune.stages.whole import Wish, train_recipe

    loaded = load_recipe(recipe, override or ()).alone()
    parent.watch()
    if environment.processes()[0]:
        from ftune.stages.together import follow

        follow(loaded, trust_remote_code)
        return
    screen = Screen(json=json)
    if rehearse:
        _rehearse(loaded, override or (), trust_remote_code, screen)
    started = environment.processes()[1]
    if processes > 1 and started not in (1, processes):
        raise RecipeError(
            f"--processes {processes}: a launcher has started {started} processes already; leave "
            "the option out, or start ftune without a launcher"
        )
    if processes > 1 and not preview and started == 1:
        said = {"--fresh": fresh, "--trust-remote-code": trust_remote_code, "--json": json}
        more = [name for name, asked in said.items() if asked]
        more += [part for key in override or () for part in ("-o", key)]
        raise typer.Exit(
            launch(["train", str(recipe), "--processes", str(processes), *more], processes)
        )
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
