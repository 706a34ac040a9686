"""``ftune eval``: scores any model or run on any data of the recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftune.cli.options import Json, Overrides, RemoteCode, RunsDir, Target


def evaluate(
    target: Target,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Score this model instead: a hub id, a folder (merged or plain), or `base`.",
        ),
    ] = None,
    on: Annotated[str, typer.Option("--on", help="Which rows: test, eval or train.")] = "test",
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder for predictions and report.")
    ] = None,
    base: Annotated[
        bool, typer.Option("--base", help="Score the base too, on the same rows, and compare.")
    ] = False,
    override: Overrides = None,
    runs_dir: RunsDir = Path("runs"),
    trust_remote_code: RemoteCode = False,
    json: Json = False,
) -> None:
    """Score a run's model, or another one, by the recipe's metrics."""
    from ftune.cli.screen import Screen
    from ftune.stages.eval_again import Question, answer
    from ftune.stages.target import find

    screen = Screen(json=json)
    found = find(target, override or (), runs_dir, trust_remote_code)
    question = Question(model, on, output, base, allow_remote_code=trust_remote_code)
    report = answer(found, question, screen)
    screen.answer(report.figures, report.summary)
