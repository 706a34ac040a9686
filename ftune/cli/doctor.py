"""``ftune doctor``: what works on this machine, and what to do about what doesn't."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftune.cli.options import Json

MARKS = {"ok": "ok", "warning": "!", "problem": "PROBLEM"}


def doctor(
    runs_dir: Annotated[
        Path, typer.Option("--runs-dir", help="Folder of runs, whose disk is looked at.")
    ] = Path("runs"),
    json: Json = False,
) -> None:
    """Check Python, packages, devices, dtypes that really work here, disk and hub.

    Products in narrow dtypes are tried in a child process. Exits with 1 if something is missing.
    """
    from dataclasses import asdict

    from ftune.cli.screen import Screen
    from ftune.model.checkup import findings

    screen = Screen(json=json)
    found = []
    for finding in findings(runs_dir):
        found.append(finding)
        if not json:
            screen.say(f"{MARKS[finding.state]:7}  {finding.name:24}  {finding.text}")
            if finding.remedy:
                screen.say(f"{'':7}  {'':24}  -> {finding.remedy}")
    screen.answer([asdict(finding) for finding in found])
    if any(finding.state == "problem" for finding in found):
        raise typer.Exit(1)
