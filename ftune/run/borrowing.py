"""A stage that another run of the recipe has done already, with the same fingerprint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from ftune.errors import RunError
from ftune.run import atomic, directory
from ftune.run.directory import RunDirectory


def borrow(
    run: RunDirectory, stage: str, fingerprint: str, siblings: Sequence[str] = ()
) -> RunDirectory | None:
    """Puts a finished stage of an older run in its place in ``run``, and gives that older run.

    It is one of the same recipe, or of the recipes named ``siblings``.

    Files are hard links where the disk has them, so that they take no room; nothing writes into a
    finished stage's files, they are only ever replaced. What doesn't match its sha256 is not taken.
    """
    target = run.stage(stage)
    names = dict.fromkeys((run.name, *siblings))
    for other in chain(*(directory.existing(run.folder.parent.parent, name) for name in names)):
        source = other.stage(stage)
        if other == run or not _fits(source, fingerprint):
            continue
        aside = target.with_name(f"{atomic.TEMPORARY}{os.getpid()}-{stage}")
        with atomic.disk_errors(target):
            try:
                _link(source, aside)
                aside.rename(target)
                atomic.sync_folder(run.folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return other
    return None


def _fits(folder: Path, fingerprint: str) -> bool:
    if not (folder / "done.json").is_file():
        return False
    try:
        done = atomic.read_json(folder / "done.json")
    except RunError:  # its own run says so when it is started
        return False
    return done.get("fingerprint") == fingerprint and not atomic.damaged(folder, done["files"])


def _link(source: Path, target: Path) -> None:
    listed = [*atomic.read_json(source / "done.json")["files"], "begin.json", "done.json"]
    for name in listed:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / name, target / name)
        except OSError:  # another disk, or one without links
            shutil.copy2(source / name, target / name)
