"""``ftune sweep``: the grid of a recipe's ``sweep:``, run in turn, side by side at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ftune.cli.options import Json, Overrides, RecipeFile, RemoteCode
from ftune.errors import Interrupted, RunError

if TYPE_CHECKING:
    from ftune.cli.screen import Screen
    from ftune.report.sweep import Swept


def sweep(
    recipe: RecipeFile,
    override: Overrides = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start a new run of every point.")] = False,
    metric: Annotated[
        str | None,
        typer.Option(help="What points are judged by (default: the first that most have)."),
    ] = None,
    trust_remote_code: RemoteCode = False,
    json: Json = False,
) -> None:
    """Train every point of a recipe's sweep, one after the other, and compare them.

    The same command again goes on where it stopped, and reuses what is done. A point that fails is
    told, and the others go on; then it ends with 5.
    """
    from ftune.cli.screen import Screen
    from ftune.recipe.reading import load_recipe
    from ftune.stages.sweep import sweep as run
    from ftune.stages.whole import Wish

    loaded = load_recipe(recipe, override or ())
    screen = Screen(json=json)
    wish = Wish(fresh=fresh, allow_remote_code=trust_remote_code)
    found, stopped = run(loaded, override or (), wish, metric, screen)
    _show(screen, found, json)
    done, failed, count = len(found.of("done")), found.of("failed"), len(found.spots)
    if stopped is not None:
        said = f"stopped: {done} of {count} points are done; the same command goes on"
        raise Interrupted(said, stopped)
    if failed:
        names = "; ".join(spot.label for spot in failed)
        said = f"{len(failed)} of {count} points failed: {names}"
        raise RunError(f"{said}; the same command tries them again, and keeps what is done")


def _show(screen: Screen, found: Swept, json: bool) -> None:
    from ftune.report.sweep import headline, heads, row

    if json:
        screen.answer({**found.to_plain(), "path": str(found.folder)})
        return
    keys = len(found.spots[0].values)
    titles = heads(found)
    figures = range(keys + ("state" in titles), len(titles))
    screen.say("")
    screen.table(titles, [row(found, spot) for spot in found.spots], right=figures)
    screen.say("")
    screen.say(headline(found))
    if found.doubt:
        screen.say(found.doubt)
    for note in found.notes:
        screen.warn(note)
    screen.say("")
    for name in ("sweep.html", "sweep.md", "sweep.png", "sweep.json"):
        if (found.folder / name).is_file():
            screen.say(f"written to {found.folder / name}")
