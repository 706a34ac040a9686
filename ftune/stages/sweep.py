"""Behind ``ftune sweep``: every point of a recipe's grid, one after the other, as ``train`` does.

Each point is trained in a process of its own: memory that a library keeps, or a crash, ends with
it, and the others go on.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftune import environment
from ftune.errors import FtuneError, Interrupted, RecipeError, RunError
from ftune.recipe.overrides import read_override
from ftune.recipe.reading import Loaded, Point
from ftune.recipe.sweeping import written
from ftune.report.gather import gather
from ftune.report.sweep import Spot, Swept, swept
from ftune.report.sweep_page import write_sweep
from ftune.run import atomic, directory
from ftune.run.apart import Asked, Ended, handing_on, in_child
from ftune.run.lock import locked
from ftune.run.progress import Progress
from ftune.run.signals import CODES
from ftune.stages.whole import Wish, train_recipe

LONGEST_ERROR = 4000  # characters
OWN = ("sweep", "name")  # keys that the command of a point sets itself


def sweep(
    loaded: Loaded, given: Sequence[str], wish: Wish, metric: str | None, progress: Progress
) -> tuple[Swept, int | None]:
    """Runs all points; gives what came out, and an exit code if it was asked to stop.

    What came out is written to ``<runs_dir>/<name>/`` after each point. ``given``: the overrides of
    the command line, for the commands that run a point alone.

    Raises:
        RecipeError: the recipe has no sweep.
        RunError: several processes were started, or another one runs this sweep.
    """
    if not loaded.points:
        raise RecipeError(
            f"{loaded.path}: has no sweep; add one, such as sweep: {{train.seed: [1, 2, 3]}}, or "
            f"run `ftune train {loaded.path}`"
        )
    if environment.processes()[1] > 1:
        raise RunError(
            "ftune sweep works in one process; start it without a launcher, or launch "
            "`ftune train` with -o sweep=null and the values of one point"
        )
    recipe = loaded.recipe
    folder = Path(recipe.runs_dir) / recipe.name
    with atomic.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    names = tuple(point.loaded.recipe.name for point in loaded.points)
    wish = replace(wish, siblings=names)
    spots = [_spot(point, loaded, given, "not reached") for point in loaded.points]
    other = "take another name, as in -o name=again"
    with locked(folder, "sweep", other), handing_on() as asked:
        for i, point in enumerate(loaded.points):
            if asked.code is not None:
                break
            progress.say("")
            progress.say(f"point {i + 1} of {len(names)}: {point.label}")
            ended = in_child(lambda p=point: _train(p, wish, progress), asked)  # type: ignore[misc]
            spots[i] = _ended(spots[i], point, ended, asked, progress)
            write_sweep(swept(recipe.name, folder, spots, metric), picture=False)
        found = swept(recipe.name, folder, spots, metric)
        write_sweep(found, picture=True)
    return found, asked.code


def _train(point: Point, wish: Wish, progress: Progress) -> tuple[dict[str, Any], int]:
    """In the child: what ``ftune train`` does. Gives how it went, and the exit code."""
    try:
        run = train_recipe(point.loaded, wish, progress)
    except Interrupted as error:
        return {"state": "interrupted", "error": str(error)}, error.exit_code
    except FtuneError as error:
        return {"state": "failed", "error": str(error)[:LONGEST_ERROR]}, error.exit_code
    except Exception as error:
        said = f"unexpected {type(error).__name__}: {error}"[:LONGEST_ERROR]
        said += "; this is a bug in ftune: run the point alone with --debug to see where"
        return {"state": "failed", "error": said}, 1
    return {"state": "done", "folder": str(run)}, 0


def _ended(spot: Spot, point: Point, ended: Ended, asked: Asked, progress: Progress) -> Spot:
    """The point as it is now that its process has ended."""
    answer = ended.answer or {}
    state, error = answer.get("state", "failed"), answer.get("error")
    if ended.code in CODES.values() and state != "done":  # also where only the child was told
        asked.code = asked.code or ended.code
    if asked.code is not None and state != "done":
        progress.say(error or "stopped")
        return replace(spot, state="interrupted", folder=_newest(point))
    if state == "done":
        folder = Path(answer["folder"])
        return replace(spot, state="done", folder=folder, run=gather(folder, whole=False))
    if error is None:
        how = f"was ended by signal {-ended.code}" if ended.code < 0 else f"ended with {ended.code}"
        short = ", most likely for want of memory" if ended.code == -9 else ""
        error = f"the process of this point {how}{short}, without a word"
    progress.warn(f"{point.label} failed: {error}")
    return replace(spot, state="failed", error=error, folder=_newest(point))


def _newest(point: Point) -> Path | None:
    recipe = point.loaded.recipe
    run = next(directory.existing(Path(recipe.runs_dir), recipe.name), None)
    return run.folder if run else None


def _spot(point: Point, loaded: Loaded, given: Sequence[str], state: str) -> Spot:
    return Spot(point.label, point.values, state, command(point, loaded, given))


def command(point: Point, loaded: Loaded, given: Sequence[str]) -> str:
    """The line that runs a point alone, and goes on with it where it was stopped."""
    kept = [each for each in given if read_override(each)[0][0] not in OWN]
    own = ["sweep=null", f"name={point.loaded.recipe.name}"]
    values = [f"{key}={written(value)}" for key, value in point.values.items()]
    words = ["ftune", "train", str(loaded.path)]
    return shlex.join([*words, *(w for each in (*kept, *own, *values) for w in ("-o", each))])
