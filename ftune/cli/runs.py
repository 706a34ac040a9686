"""``ftune runs``: list runs, show one, compare them, look at them in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftune.cli.comparing import NAMED, RUNS, Json, RunsDir, compare
from ftune.cli.serving import serve
from ftune.errors import RunError

if TYPE_CHECKING:
    from ftune.cli.screen import Screen
    from ftune.report.brief import Brief
    from ftune.report.gather import Gathered

runs_app = typer.Typer(no_args_is_help=True, help="List runs, show one, compare them, serve them.")

runs_app.command("compare")(compare)
runs_app.command("serve")(serve)


@runs_app.command("list")
def list_runs(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The folder of all runs, or of one name.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the runs below a folder, newest first."""
    from ftune.cli.screen import Screen
    from ftune.report.brief import brief
    from ftune.report.finding import run_folders

    where = folder or RUNS
    if folder is not None and not folder.is_dir():
        raise RunError(f"{folder}: is no folder; `ftune train` makes one, by default {RUNS}")
    runs = [brief(f) for f in (run_folders(where) if where.is_dir() else [])]
    screen = Screen(json=as_json)
    if as_json:
        screen.answer([run.to_plain() for run in runs])
    elif not runs:
        screen.say(f"no runs below {where}")
    else:
        heads = ("run", "state", "started", "took", "metrics")
        screen.table(heads, [_listed(run) for run in runs], right=(3,))


@runs_app.command("show")
def show(
    run: Annotated[str, typer.Argument(help=NAMED)],
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Show what a run did: metrics, figures, samples, warnings."""
    from ftune.cli.screen import Screen
    from ftune.report.finding import find_run
    from ftune.report.gather import gather
    from ftune.report.write import report_json

    found = gather(find_run(run, runs_dir))
    screen = Screen(json=as_json)
    if as_json:
        screen.answer({**report_json(found), "path": str(found.folder)})
    else:
        _show(screen, found)


@runs_app.command("report")
def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help=NAMED)],
    runs_dir: RunsDir = RUNS,
) -> None:
    """Write a run's report anew, such as of one that was killed and could not write its own."""
    from ftune.cli.screen import Screen
    from ftune.report.finding import find_run
    from ftune.report.write import write_run_report

    screen = Screen(json=False)
    for folder in [find_run(each, runs_dir) for each in runs]:
        write_run_report(folder)
        screen.say(f"written to {folder / 'report.html'}")


def _listed(run: Brief) -> tuple[str, ...]:
    from ftune.report.numbers import duration, value
    from ftune.report.state import when
    from ftune.report.tolerant import number

    scores = [
        f"{s.name} {value(s.base)} -> {value(s.tuned)}"
        if s.base is not None
        else f"{s.name} {value(s.tuned)}"
        for s in run.scores[:3]
    ]
    more = f" (+{len(run.scores) - 3})" if len(run.scores) > 3 else ""
    took = duration(number(run.facts.get("seconds")))
    return f"{run.name}/{run.id}", run.state, when(run.facts), took, ", ".join(scores) + more


def _show(screen: Screen, run: Gathered) -> None:
    from ftune.cli.screen import SCORE_FIGURES, SCORE_HEADS, score_row
    from ftune.report.headline import headline
    from ftune.report.numbers import rows
    from ftune.report.state import when

    screen.say(f"{run.name}/{run.id}  {run.state}  {when(run.facts)}".rstrip())
    screen.say(headline(run))
    screen.say("")
    if run.scores:
        screen.table(SCORE_HEADS, [score_row(s) for s in run.scores], right=SCORE_FIGURES)
        screen.say("")
    figures = rows({**run.figures("load"), **run.figures("train")})
    if figures:
        screen.table(("figure", "value"), figures, right=(1,))
        screen.say("")
    for sample in run.samples[:2]:
        screen.say(f"prompt:    {sample.prompt.strip()}")
        answers = {"before": sample.base, "after": sample.tuned}
        answers["reference"] = sample.references[0] if sample.references else None
        for name, words in answers.items():
            if words is not None:
                screen.say(f"{name + ':':10} {words.strip()}")
        screen.say("")
    screen.say(f"run directory: {run.folder}")
    page = next((p for n in ("html", "md") if (p := run.folder / f"report.{n}").is_file()), None)
    if page:
        screen.say(f"report:        {page}")
    for line in run.warnings:
        screen.warn(line)
