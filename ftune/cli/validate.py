"""``ftune validate``: all that is wrong with a recipe, without running it."""

from __future__ import annotations

import json as json_
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftune.cli.options import Json, Overrides, RecipeFile

if TYPE_CHECKING:
    from ftune.recipe.schema import Recipe
    from ftune.recipe.source import Source


def validate(
    recipe: RecipeFile,
    override: Overrides = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print the recipe with every default.")
    ] = False,
    json: Json = False,
) -> None:
    """Check a recipe, and tell all that is wrong with it at once.

    Ends with 2 if something is. Models and data sets on the hub are not looked up.
    """
    from ftune.errors import RecipeError
    from ftune.recipe.reading import load_recipe
    from ftune.recipe.resolved import to_plain, to_yaml

    try:
        loaded = load_recipe(recipe, override or ())
    except RecipeError as error:
        if not json:
            raise
        typer.echo(json_.dumps({"ok": False, "problems": error.problems}, ensure_ascii=False))
        raise typer.Exit(error.exit_code) from None
    if json:
        answer: dict[str, Any] = {"ok": True, "problems": []}
        if loaded.points:
            answer["points"] = [point.label for point in loaded.points]
        if resolved:
            answer["recipe"] = to_plain(loaded.recipe)
        typer.echo(json_.dumps(answer, ensure_ascii=False))
    elif resolved:
        typer.echo(to_yaml(loaded.recipe), nl=False)
    else:
        typer.echo(f"{recipe}: ok\n  {summary(loaded.recipe)}")
        if loaded.points:
            keys = " x ".join(loaded.points[0].values)
            typer.echo(f"  sweep of {len(loaded.points)} points: {keys}; run by `ftune sweep`")


def summary(recipe: Recipe) -> str:
    """The recipe in one line."""
    metrics = ", ".join(m.name for m in recipe.evaluate.metrics)
    train = recipe.train
    length = f"{train.max_steps} steps" if train.max_steps else f"{train.num_train_epochs:g} epochs"
    return "; ".join(
        [
            f"{recipe.tune.name} of {recipe.model.name_or_path}",
            f"train {_rows(recipe.data.train)}",
            f"eval {_rows(recipe.data.eval)}",
            f"test {_rows(recipe.data.test)}",
            f"{length} of {train.objective.name} at {train.learning_rate:g}",
            f"metrics {metrics or 'none'}",
        ]
    )


def _rows(sources: tuple[Source, ...] | float) -> str:
    """Where rows come from, in words."""
    if isinstance(sources, float):
        return f"{sources:g} of the training rows"
    return " + ".join(s.path for s in sources) or "none"
