"""Behind ``ftune rehearse``: the user's own recipe, walked in miniature."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ftune import environment
from ftune.errors import Interrupted, RunError
from ftune.recipe.reading import Loaded
from ftune.run import atomic
from ftune.run.progress import Progress
from ftune.run.signals import stop_flag
from ftune.run.stage import Place
from ftune.stages.rehearsal import acts
from ftune.stages.rehearsal.needs import Need, needs
from ftune.stages.rehearsal.walk import Outcome, Walk

PREFIX = ".ftune-rehearsal-"
ACTS = (
    ("all rows", acts.all_rows, ()),
    ("test rows", acts.test_rows, ()),
    ("longest batch", acts.longest_batch, ("all rows",)),
    ("train", acts.train, ("all rows",)),
    ("save and reload", acts.reload, ("train",)),
    ("evaluate", acts.evaluate, ("train",)),
    ("generate", acts.generate, ("train",)),
    ("merge", acts.merge, ("train",)),
    ("kill and resume", acts.resume, ("longest batch", "train")),
)


@dataclass(frozen=True)
class Rehearsed:
    """What was found."""

    outcomes: tuple[Outcome, ...]
    needs: tuple[Need, ...]

    @property
    def holds(self) -> bool:
        """Whether the run can begin."""
        held = all(o.state in ("held", "left out") for o in self.outcomes)
        return held and all(need.holds for need in self.needs)

    def to_plain(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "holds": self.holds,
            "acts": [asdict(outcome) for outcome in self.outcomes],
            "estimates": [{**asdict(need), "holds": need.holds} for need in self.needs],
        }


def rehearse(
    loaded: Loaded, given: Sequence[str], allow_remote_code: bool, progress: Progress
) -> Rehearsed:
    """Walks the recipe; what it writes stands beside runs_dir and is removed, whatever happens.

    Raises:
        RunError: there is no room to write, or several processes were started.
        Interrupted: it was asked to stop.
    """
    if environment.processes()[1] > 1:
        raise RunError("ftune rehearse works in one process; start it without a launcher")
    home = Path(loaded.recipe.runs_dir).absolute().parent
    with atomic.disk_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        _remove_left(home)
        folder = Path(tempfile.mkdtemp(prefix=f"{_own()}{os.getpid()}-", dir=home))
    place = Place(loaded.path.parent, allow_remote_code)
    try:
        with stop_flag(loaded.recipe.train.grace_seconds) as stop:
            walk = Walk(loaded, tuple(given), folder, place, progress, stop)
            for name, work, after in ACTS:
                walk.act(name, work, after)
            return Rehearsed(tuple(walk.outcomes), tuple(needs(walk)))
    except Interrupted as error:  # what was inside speaks of a run that can be gone on with
        raise Interrupted(
            "the rehearsal was stopped, and what it wrote is removed; the same command begins it "
            "again",
            error.exit_code,
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _own() -> str:
    """How folders of this machine begin: on a shared disk, others' processes can't be asked for."""
    return f"{PREFIX}{socket.gethostname()}-"


def _remove_left(home: Path) -> None:
    """Removes what rehearsals that were killed left there."""
    import psutil

    for left in home.glob(f"{glob.escape(_own())}*"):
        process = left.name.removeprefix(_own()).partition("-")[0]
        whole = left.is_dir() and not left.is_symlink()
        if whole and process.isdigit() and not psutil.pid_exists(int(process)):
            shutil.rmtree(left)
