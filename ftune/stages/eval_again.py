"""Behind ``ftune eval``: any model on any rows of a recipe."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ftune.errors import ModelError, RecipeError
from ftune.evaluate.scoreboard import check
from ftune.recipe.resolved import to_yaml
from ftune.recipe.schema import Recipe
from ftune.recipe.view import View
from ftune.report.evaluated import write_evaluation_report
from ftune.run import atomic, directory, machine
from ftune.run.directory import RUN_ID
from ftune.run.progress import Progress
from ftune.run.signals import stop_flag
from ftune.run.stage import Place
from ftune.stages import labels, prompting, suites, tasks
from ftune.stages.evaluate import of_base, prepare, score, write
from ftune.stages.models import MODEL_KEYS, Tuned, load_base, trained
from ftune.stages.rows import SPLITS
from ftune.stages.target import Found
from ftune.stages.testing import DATA_KEYS
from ftune.types import Report, Task


@dataclass(frozen=True)
class Question:
    """What the command line asks for besides the recipe."""

    model: str | None = None  # a hub id, a folder of a model or of an adapter, or "base"
    on: str = "test"
    output: Path | None = None
    base: bool = False  # whether the base is scored on the same rows, to compare with
    allow_remote_code: bool = False


def answer(found: Found, question: Question, progress: Progress) -> Report:
    """Scores the model and writes predictions and report to a folder of their own.

    Raises:
        RecipeError: the recipe names no metric, or not these rows.
    """
    recipe = found.loaded.recipe
    if question.on not in SPLITS:
        raise RecipeError(f"--on: {question.on!r} is none of {', '.join(SPLITS)}")
    section = recipe.evaluate
    if question.base and not _tuned_here(question.model):
        raise RecipeError(
            f"--base compares what was tuned with its base, and --model {question.model} is no "
            "adapter; score the two apart, each with ftune eval"
        )
    if not (section.metrics or section.suites or section.retain):
        raise RecipeError(
            "evaluate.metrics: names no metric; name some in the recipe, "
            "or with -o 'evaluate.metrics=[rouge, bleu]'"
        )
    if recipe.evaluate.metrics and not getattr(recipe.data, question.on):
        raise RecipeError(f"data.{question.on}: the recipe names no such rows; add them")
    place = Place(found.folder, question.allow_remote_code)
    tuned, home = _model(found, recipe, question, progress)
    view = View(recipe, "", (*MODEL_KEYS, *DATA_KEYS, "evaluate"), set())
    if home is not None:
        prompting.check(home, view, tuned.tokenizer, place, progress)
    suites.identity(view, place)  # refuses what can't be asked
    check(view.evaluate.metrics)
    task = tuned.base.task if tasks.is_labelled(view) else None
    work = prepare(view, question.on, tuned.tokenizer, place, task)
    begun, started = datetime.now(UTC), time.monotonic()
    with stop_flag() as stop:
        asking = (tuned.tokenizer, work, progress, stop)
        scored = {"tuned": score(tuned.model, *asking)}
        if question.base:
            progress.say("eval: the base model")
            scored["base"] = of_base(view, place.allow_remote_code, task, tuned, asking)
    facts = {
        "recipe": recipe.name,
        "started": begun.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 3),
        "command": ["ftune", *sys.argv[1:]],
    }

    def fill(part: Path, folder: Path) -> Report:
        report = write(part, scored, work, recipe.evaluate.bootstrap)
        told = {**report.figures, "model": _name(found, question), "on": question.on}
        told["output"] = str(folder)
        said = {"summary": report.summary, "warnings": report.warnings, "run": facts}
        atomic.write_json(part / "report.json", {**told, **said})
        atomic.write_text(part / "recipe.resolved.yaml", to_yaml(recipe))
        atomic.write_json(part / "environment.json", machine.describe())
        write_evaluation_report(part)
        head = f"{told['model']} on {question.on} ({len(work.rows.tokens):,} rows)"
        where = f"report: {folder / 'report.html'}"
        return Report("eval", told, (head, *report.summary, where), report.warnings)

    if question.output is None:
        return _numbered(_home(found), fill)
    with atomic.disk_errors(question.output):
        question.output.mkdir(parents=True, exist_ok=True)
    return fill(question.output, question.output)


def _model(
    found: Found, recipe: Recipe, question: Question, progress: Progress
) -> tuple[Tuned, Path | None]:
    """The model, and the folder whose contract says how it is asked; None for a plain model."""
    code = question.allow_remote_code
    named = question.model
    task = _task(found, recipe, code)
    if named in (None, "base"):
        view = View(recipe, "", MODEL_KEYS, set())
        if named == "base":
            base = load_base(view, code, task)
            return Tuned(base, base.model), None
        adapter = found.trained().stage("train") / "adapter"
        return trained(view, code, adapter, progress), adapter
    assert named is not None
    folder = Path(named)
    if _tuned_here(named):
        return trained(View(recipe, "", MODEL_KEYS, set()), code, folder, progress), folder
    if folder.exists() and not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: holds neither a model nor an adapter")
    section = recipe.model.model_copy(update={"name_or_path": named, "revision": None})
    other = recipe.model_copy(update={"model": section})
    task = tasks.told_in(folder) or task
    base = load_base(View(other, "", MODEL_KEYS, set()), code, task)
    return Tuned(base, base.model), folder if (folder / prompting.NAME).is_file() else None


def _tuned_here(named: str | None) -> bool:
    """Whether the model is the recipe's base with something trained: the run's, or an adapter."""
    marks = ("adapter_config.json", "delta_config.json")
    return named is None or any((Path(named) / mark).is_file() for mark in marks)


def _task(found: Found, recipe: Recipe, code: bool) -> Task | None:
    """What the model is for: as the run's rows were read, or else as the recipe's are."""
    view = View(recipe, "", (*MODEL_KEYS, *DATA_KEYS), set())
    if not tasks.is_labelled(view):
        return None
    told = tasks.told_in(found.run.stage("format")) if found.run else None
    return told or labels.task(view, Place(found.folder, code))


def _name(found: Found, question: Question) -> str:
    if question.model == "base":
        return found.loaded.recipe.model.name_or_path
    return question.model or str(found.trained())


def _home(found: Found) -> Path:
    """Where evaluations stand: in the run, or beside the recipe's runs if it has none."""
    recipe = found.loaded.recipe
    return (found.run.folder if found.run else Path(recipe.runs_dir) / recipe.name) / "evaluations"


def _numbered(home: Path, fill: Callable[[Path, Path], Report]) -> Report:
    """``fill`` writes what becomes ``001`` and so on of ``home``, and appears there as a whole.

    It gets the folder to write to and the one that this becomes. Of two evaluations at once each
    has a number of its own; what killed ones left behind is removed.

    Raises:
        RunError: it can't be written.
    """
    if home.parent.is_dir():
        directory.refuse_links(home.parent)
    part = home / f"{atomic.TEMPORARY}{os.getpid()}-evaluation"
    with atomic.disk_errors(home):
        atomic.clear_stale(home / "evaluation")
        try:
            while True:
                part.mkdir(parents=True, exist_ok=True)
                taken = [int(d.name) for d in home.iterdir() if RUN_ID.fullmatch(d.name)]
                folder = home / f"{max(taken, default=0) + 1:03d}"
                report = fill(part, folder)
                try:
                    part.rename(folder)
                except OSError:
                    if not folder.exists():
                        raise
                    continue  # another one was quicker
                atomic.sync_folder(home)
                return report
        finally:
            shutil.rmtree(part, ignore_errors=True)
