"""``ftune rehearse``: the recipe in miniature, before the hours begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ftune.cli.options import Json, Overrides, RecipeFile, RemoteCode
from ftune.errors import RunError

if TYPE_CHECKING:
    from ftune.cli.screen import Screen
    from ftune.stages.rehearse import Rehearsed


def rehearse(
    recipe: RecipeFile,
    override: Overrides = None,
    trust_remote_code: RemoteCode = False,
    json: Json = False,
) -> None:
    """Walk a recipe in miniature: every stage, a kill and resume, a merge, the longest batch.

    Says what held and what the whole run will need; leaves nothing behind. Ends with 5 if
    something did not hold.
    """
    from ftune.cli.screen import Screen
    from ftune.recipe.reading import load_recipe
    from ftune.stages.rehearse import rehearse as walk

    loaded = load_recipe(recipe, override or ()).alone()
    screen = Screen(json=json)
    found = walk(loaded, override or (), trust_remote_code, screen)
    if json:
        screen.answer(found.to_plain())
    else:
        show(screen, found)
    if not found.holds:
        raise typer.Exit(RunError.exit_code)


def show(screen: Screen, found: Rehearsed) -> None:
    """The outcome as tables."""
    from ftune.report.numbers import duration, size

    screen.say("")
    rows = [(o.act, o.state, f"{o.seconds:.1f}s", o.detail) for o in found.outcomes]
    screen.table(("act", "", "took", "what was seen"), rows, right=(2,))
    if found.needs:
        screen.say("")
        lines = []
        for need in found.needs:
            shown = duration if need.what == "time" else size
            there = "" if need.there is None else size(need.there)
            word = "" if need.holds else "too little"
            lines.append((need.what, shown(need.amount), there, word, need.measured))
        heads = ("estimate", "the run takes", "there is", "", "measured on")
        screen.table(heads, lines, right=(1, 2))
    screen.say("")
    screen.say("it holds" if found.holds else "it does not hold; nothing was trained")
