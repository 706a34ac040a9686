"""Runs stages in turn: reuses what is done, goes on with what was begun, never overwrites."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ftune.errors import Interrupted, RunError
from ftune.recipe.schema import Recipe
from ftune.recipe.view import View, plain
from ftune.run import atomic
from ftune.run.borrowing import borrow
from ftune.run.fingerprint import fingerprint
from ftune.run.signals import StopFlag
from ftune.run.stage import Context, Place, Stage, Surroundings

# Checkpoints carry manifests of their own, and are rotated away in the course of training.
UNLISTED = ("begin.json", "done.json", "checkpoints/")


def fingerprints(
    stages: Sequence[Stage], recipe: Recipe, place: Place, reads: set[str]
) -> dict[str, str]:
    """The fingerprint of each stage by its name."""
    found: dict[str, str] = {}
    for stage in stages:
        view = View(recipe, "", stage.reads, reads)
        before = [found[name] for name in stage.needs]
        identity = stage.identity(view, place)
        keys = plain(recipe, [k for k in stage.reads if k not in stage.covered])
        found[stage.name] = fingerprint(stage.name, stage.version, keys, before, identity)
    return found


def run_stages(
    stages: Sequence[Stage],
    recipe: Recipe,
    around: Surroundings,
    prints: Mapping[str, str],
    reads: set[str],
) -> dict[str, dict[str, Any]]:
    """Runs each stage that isn't done yet; gives all reports by stage name.

    The recipe keys that the stages read, now or when they were run, are put into ``reads``.
    """
    reports: dict[str, dict[str, Any]] = {}
    for stage in stages:
        stop_between(around.stop, stage.name)
        folder = around.run.stage(stage.name)
        if not _is_done(stage, folder, prints[stage.name], around):
            _foresee(stages, stage.name, recipe, around, prints)
            own: set[str] = set()
            view = View(recipe, "", stage.reads, own)
            _run(stage, Context(folder, view, prints[stage.name], around), own)
        reports[stage.name] = atomic.read_json(folder / "report.json")
        reads.update(reports[stage.name].get("reads", stage.reads))
    return reports


def _foresee(
    stages: Sequence[Stage],
    name: str,
    recipe: Recipe,
    around: Surroundings,
    prints: Mapping[str, str],
) -> None:
    """What is found now is not found after the stage ``name``, which may take hours."""
    for later in stages:
        if later.foresee is not None and later.needs[-1:] == (name,):
            folder, view = around.run.stage(later.name), View(recipe, "", later.reads, set())
            later.foresee(Context(folder, view, prints[later.name], around))


def stop_between(stop: StopFlag, what: str) -> None:
    """Ends the run here if that was asked for; what is done stays done."""
    if stop.code is not None:
        raise Interrupted(
            f"stopped before {what}; what is done is kept, and the same command goes on", stop.code
        )


def _is_done(stage: Stage, folder: Path, expected: str, around: Surroundings) -> bool:
    """Whether the stage can be reused; what can't be is moved aside unless it may go on."""
    if not folder.exists():
        borrowed = stage.borrowed
        other = borrow(around.run, stage.name, expected, around.siblings) if borrowed else None
        if other is not None:
            around.progress.say(f"{stage.name}: the same as in {other}, taken from there")
        return other is not None
    begin, done = (_record(folder / name, around) for name in ("begin.json", "done.json"))
    found = begin.get("fingerprint")
    if found != expected:
        if found is not None:
            _move_aside(folder, "its recipe or data changed", around)
        return False
    if "files" not in done:
        around.progress.say(f"{stage.name}: begun before, going on")
        return False
    problems = atomic.damaged(folder, done["files"])
    if problems:
        for problem in problems:
            around.progress.warn(problem)
        _move_aside(folder, "its files don't match their sha256", around)
    else:
        around.progress.say(f"{stage.name}: done before, reused")
    return not problems


def _record(path: Path, around: Surroundings) -> dict[str, Any]:
    """begin.json or done.json; empty if it isn't there, or damaged, which is told."""
    try:
        return atomic.read_json(path) if path.is_file() else {}
    except RunError as error:
        around.progress.warn(f"{error}; it counts as not written, and the stage is gone on with")
        return {}


def _move_aside(folder: Path, why: str, around: Surroundings) -> None:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    with atomic.disk_errors(folder):
        folder.rename(aside)
    around.progress.say(f"{folder.name}: {why}; the old one is kept as {aside.name}")


def _run(stage: Stage, context: Context, reads: set[str]) -> None:
    folder = context.folder
    with atomic.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "done.json").unlink(missing_ok=True)  # of what is made again
    begin = {"stage": stage.name, "version": stage.version, "fingerprint": context.fingerprint}
    atomic.write_json(folder / "begin.json", begin)
    started = time.monotonic()
    report = stage.run(context)
    facts = {**asdict(report), "seconds": round(time.monotonic() - started, 3)}
    facts["reads"] = sorted(reads)
    atomic.write_json(folder / "report.json", facts)
    missing = [name for name in stage.writes if not (folder / name).exists()]
    if missing:
        raise RunError(f"{folder}: stage {stage.name} did not write {', '.join(missing)}")
    atomic.write_json(folder / "done.json", {**begin, "files": manifest(folder)})
    for line in report.warnings:
        context.around.progress.warn(f"{stage.name}: {line}")


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of each file that a stage wrote."""
    files = [
        f
        for f in sorted(folder.rglob("*"))
        if f.is_file() and not str(f.relative_to(folder)).startswith(UNLISTED)
    ]
    return atomic.digests(folder, files)
