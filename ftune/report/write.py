"""Writes the reports of a run: report.json, report.md, report.html, loss.png; a page per stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftune.report.curves import draw_curves
from ftune.report.gather import Gathered, gather
from ftune.report.headline import headline
from ftune.report.html.page import page
from ftune.report.markdown import run_page, stage_page
from ftune.report.tolerant import plain
from ftune.run import atomic

VERSION = 1  # of report.json; raised when a key changes its meaning


def write_run_report(folder: Path) -> Gathered:
    """Writes what there is to say of the run in ``folder``, whatever its state, and returns it.

    Takes run.json as it stands: the state should be noted there before.

    Raises:
        RunError: the disk is full, or the folder can't be written.
    """
    run = gather(folder)
    picture = draw_curves(run.series, folder / "loss.png", f"{run.name} · {run.id}")
    for name, report in run.stages.items():
        # Only beside a finished stage: a page written earlier would be taken for its output.
        if (folder / name / "done.json").is_file():
            atomic.write_text(folder / name / "report.md", stage_page(report))
    atomic.write_json(folder / "report.json", report_json(run))
    atomic.write_text(folder / "report.md", run_page(run, picture))
    atomic.write_text(folder / "report.html", page(run))
    return run


def report_json(run: Gathered) -> dict[str, Any]:
    """The machine's form of a run, as report.json holds it; figures that aren't finite are null."""
    return plain(
        {
            "version": VERSION,
            "headline": headline(run),
            "name": run.name,
            "id": run.id,
            "state": run.state,
            "run": run.facts,
            "metrics": [score.to_plain() for score in run.scores],
            "stages": run.stages,
            "series": run.series.points,
            "samples": [sample.to_plain() for sample in run.samples],
            "recipe": run.recipe,
            "environment": run.environment,
            "warnings": run.warnings,
        }
    )
