"""``ftune runs``: list runs, show one, compare two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftune.errors import RunError

if TYPE_CHECKING:
    from ftune.cli.screen import Screen
    from ftune.report.brief import Brief
    from ftune.report.compare import Pair
    from ftune.report.gather import Gathered

runs_app = typer.Typer(no_args_is_help=True, help="List runs, show one, compare two.")

RUNS = Path("runs")
NAMED = "A run's folder, name (its newest run) or name/id."
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="The folder of all runs.")]


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


@runs_app.command("compare")
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=NAMED)],
    b: Annotated[str, typer.Argument(metavar="B", help=NAMED)],
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Put two runs side by side: recipe keys that differ, metrics, loss, time, memory."""
    from ftune.cli.screen import Screen
    from ftune.report.compare import compare as side_by_side
    from ftune.report.finding import find_run
    from ftune.report.gather import gather
    from ftune.stages.two_runs import chances

    one, other = (gather(find_run(each, runs_dir), whole=False) for each in (a, b))
    test = chances(one.folder, other.folder)
    found = side_by_side(one, other, test.p, test.notes)
    screen = Screen(json=as_json)
    if as_json:
        screen.answer(found.to_plain())
        return
    parts = {"metrics": found.metrics, "figures": found.figures}
    for title, pairs in parts.items():
        if pairs:
            heads = (title, found.a, found.b, "change", "")
            screen.table(heads, [_compared(pair) for pair in pairs], right=(1, 2, 3))
            screen.say("")
    if found.recipe:
        rows = [(pair.key, _shown(pair.a), _shown(pair.b)) for pair in found.recipe]
        screen.table(("recipe", found.a, found.b), rows)
    else:
        screen.say("the recipes are equal")
    for note in found.notes:
        screen.warn(note)


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


def _compared(pair: Pair) -> tuple[str, ...]:
    from ftune.report.numbers import figure, signed

    key = pair.key.rpartition(".")[2]
    change = pair.change
    moved = signed(None) if change is None else ("+" * (change > 0)) + figure(key, change)
    cells = pair.key, figure(key, pair.a), figure(key, pair.b), moved
    return (*cells, pair.verdict)


def _shown(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
