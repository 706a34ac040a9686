"""What killed processes left half-written in a run, removed by the next one that holds it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ftune.run import atomic

APART = ("evaluations",)  # of ftune eval, which works without the lock: they may be under way
REPLACED = re.compile(re.escape(atomic.TEMPORARY) + r"\d+-old-(.+)")


def remove(run: Path) -> None:
    """Removes temporary files and folders from a run's folder and those of its stages.

    Only for the holder of the run's lock. What was moved away to be replaced, and was not, is moved
    back. Checkpoints are looked after by the training.

    Raises:
        RunError: the folder can't be written.
    """
    with atomic.disk_errors(run):
        stages = [d for d in run.iterdir() if d.is_dir() and d.name not in APART]
        for folder in (run, *stages):
            for left in sorted(folder.glob(f"{atomic.TEMPORARY}*")):
                _remove(left)


def _remove(left: Path) -> None:
    replaced = REPLACED.fullmatch(left.name)
    if replaced and not left.with_name(replaced[1]).exists():
        left.rename(left.with_name(replaced[1]))
    elif left.is_dir() and not left.is_symlink():
        shutil.rmtree(left)
    else:
        left.unlink()
