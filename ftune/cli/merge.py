"""``ftune merge``: adapter and base as one model that plain transformers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftune.cli.options import Json, RemoteCode, RunsDir

Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="TARGET...",
        help="A run's folder, `name` or `name/id` of a run, or a recipe; several are put together.",
    ),
]


def merge(
    targets: Targets,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="The merged model's folder [RUN/merged]; several need one."),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Weights' type on disk: auto (the base's own), float32, bfloat16.")
    ] = "auto",
    weights: Annotated[
        str | None,
        typer.Option(help="Several runs: a weight for each, such as 0.7,0.3 [equal shares of 1]."),
    ] = None,
    how: Annotated[
        str | None,
        typer.Option(help="Several runs: sum, linear, ties, dare_linear or dare_ties [sum]."),
    ] = None,
    density: Annotated[
        float | None, typer.Option(help="The share of numbers that TIES and DARE keep.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of what DARE draws [0].")] = None,
    runs_dir: RunsDir = Path("runs"),
    trust_remote_code: RemoteCode = False,
    json: Json = False,
) -> None:
    """Merge adapters into their unquantized base, and prove that nothing changed."""
    from ftune.cli.screen import Screen
    from ftune.errors import RecipeError
    from ftune.stages.merge import merge_run
    from ftune.stages.merge_several import Wish, merge_runs
    from ftune.stages.target import find

    screen = Screen(json=json)
    found = [find(target, (), runs_dir, trust_remote_code) for target in targets]
    wish = Wish(weights, how, density, seed)
    if len(found) > 1:
        report = merge_runs(found, wish, output, dtype, trust_remote_code, screen)
    elif wish.empty():
        report = merge_run(found[0], output, dtype, trust_remote_code, screen)
    else:
        raise RecipeError("--weights, --how, --density and --seed are for several runs; name two")
    screen.answer(report.figures, report.summary)
