"""``ftune merge``: adapter and base as one model that plain transformers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftune.cli.options import Json, RemoteCode, RunsDir, Target


def merge(
    target: Target,
    output: Annotated[
        Path | None, typer.Option("--output", help="The merged model's folder [RUN/merged].")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Weights' type on disk: auto (the base's own), float32, bfloat16.")
    ] = "auto",
    runs_dir: RunsDir = Path("runs"),
    trust_remote_code: RemoteCode = False,
    json: Json = False,
) -> None:
    """Merge a run's adapter into its unquantized base, and prove that nothing changed."""
    from ftune.cli.screen import Screen
    from ftune.stages.merge import merge_run
    from ftune.stages.target import find

    screen = Screen(json=json)
    found = find(target, (), runs_dir, trust_remote_code)
    report = merge_run(found, output, dtype, trust_remote_code, screen)
    screen.answer(report.figures, report.summary)
