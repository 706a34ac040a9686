"""The pages of an evaluation that stands alone: what ``ftune eval`` writes beside its figures."""

from __future__ import annotations

from pathlib import Path

from ftune.report.gather import Gathered
from ftune.report.html.page import page
from ftune.report.markdown import run_page
from ftune.report.samples import read_samples
from ftune.report.series import Series
from ftune.report.tolerant import items, mapping, read_json, read_yaml, text
from ftune.run import atomic
from ftune.run.directory import RUN_ID

HOME = "evaluations"  # in a run, or beside the runs of a recipe


def write_evaluation_report(folder: Path) -> Gathered:
    """Writes report.md and report.html of the evaluation in ``folder``, and returns it.

    Raises:
        RunError: the disk is full, or the folder can't be written.
    """
    found = gather_evaluation(folder)
    atomic.write_text(folder / "report.md", run_page(found, picture=False))
    atomic.write_text(folder / "report.html", page(found))
    return found


def gather_evaluation(folder: Path) -> Gathered:
    """Reads what ``ftune eval`` left; never fails on what it finds there."""
    problems: list[str] = []
    report = read_json(folder / "report.json", problems)
    facts = {**mapping(report.get("run")), "model": report.get("model"), "on": report.get("on")}
    stage = {"figures": report, "warnings": items(report.get("warnings"))}
    return Gathered(
        folder=folder,
        name=text(facts.get("recipe")) or folder.absolute().parent.name,
        id=f"evaluation {folder.absolute().name}",
        state="done" if report else "unknown",
        facts=facts,
        recipe=read_yaml(folder / "recipe.resolved.yaml", problems),
        environment=read_json(folder / "environment.json", problems),
        stages={"evaluate": stage} if report else {},
        series=Series(),
        samples=read_samples(folder / "predictions.jsonl", problems),
        problems=tuple(problems),
        evaluation=True,
    )


def evaluation_folders(run: Path) -> list[Path]:
    """The evaluations of a run that were written whole, oldest first."""
    home = run / HOME
    try:
        found = [f for f in home.iterdir() if RUN_ID.fullmatch(f.name)]
    except OSError:
        return []
    return sorted((f for f in found if (f / "report.json").is_file()), key=lambda f: int(f.name))
