"""The four stages as one piece of work: which run they belong to, and its record."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ftune import environment
from ftune.errors import Interrupted, RunError
from ftune.recipe.reading import Loaded
from ftune.recipe.resolved import to_yaml
from ftune.recipe.unread import unread
from ftune.run import atomic, directory, leftovers, machine
from ftune.run.directory import RunDirectory
from ftune.run.lock import locked
from ftune.run.pipeline import fingerprints, run_stages
from ftune.run.progress import Progress
from ftune.run.signals import stop_flag
from ftune.run.stage import Place, Surroundings
from ftune.stages.evaluate import EVALUATE
from ftune.stages.format import FORMAT
from ftune.stages.load import LOAD
from ftune.stages.together import ending, join
from ftune.stages.train import TRAIN

STAGES = (FORMAT, LOAD, TRAIN, EVALUATE)


@dataclass(frozen=True)
class Wish:
    """What the command line asks for besides the recipe."""

    fresh: bool = False
    only_format: bool = False
    allow_remote_code: bool = False
    siblings: tuple[str, ...] = ()  # names of recipes whose formatted rows may be taken


def train_recipe(loaded: Loaded, wish: Wish, progress: Progress) -> RunDirectory:
    """Runs the stages of a recipe in the run that belongs to it, and gives that run."""
    recipe = loaded.recipe
    place = Place(loaded.path.parent, wish.allow_remote_code)
    reads: set[str] = set()
    group = join(recipe)
    with stop_flag(recipe.train.grace_seconds) as stop, ending(group):
        prints = fingerprints(STAGES, recipe, place, reads)
        run = choose(Path(recipe.runs_dir), recipe.name, prints["train"], wish.fresh)
        with locked(run.folder):
            progress.say(f"run directory: {run}")
            directory.refuse_links(run.folder)
            leftovers.remove(run.folder)
            _begin(run, loaded, prints["train"], progress)
            around = Surroundings(run, place, progress, stop, {"group": group}, wish.siblings)

            def work() -> None:
                stages = STAGES[:1] if wish.only_format else STAGES
                reports = run_stages(stages, recipe, around, prints, reads)
                if not wish.only_format:
                    _tell_unread(run, loaded, reads, reports["train"]["figures"], progress)

            _keep_record(run, work, progress)
            if wish.only_format:
                run.note(state="interrupted")
    return run


def _tell_unread(
    run: RunDirectory, loaded: Loaded, reads: set[str], figures: dict[str, Any], progress: Progress
) -> None:
    """Says which keys of the recipe did nothing, on the screen and in run.json."""
    from ftune.report.series import read_series

    course = read_series(run.stage("train") / "metrics.jsonl", [])
    known = {**figures, "evaluations": len(course["eval_loss"])}
    found = unread(loaded.recipe, loaded.written, reads, known)
    for one in found:
        progress.warn(f"recipe: {one}")
    run.note(unread=[asdict(one) for one in found])


def choose(runs_dir: Path, name: str, key: str, fresh: bool) -> RunDirectory:
    """The newest run whose training has this fingerprint, or a new one beside the others.

    A changed evaluation belongs to the same run, since it doesn't change the model.
    """
    if not fresh:
        for run in directory.existing(runs_dir, name):
            if _training(run) == key:
                return run
    return directory.create(runs_dir, name)


def _training(run: RunDirectory) -> str | None:
    """The fingerprint of a run's training; where run.json is damaged, the stage has it too."""
    for file in (run.state_file, run.stage("train") / "begin.json"):
        with suppress(RunError):
            return atomic.read_json(file).get("fingerprint")
    return None


def _readable(file: Path, progress: Progress) -> bool:
    """Whether a record can be read; a damaged one is told and moved aside, to be written again."""
    if not file.is_file():
        return False
    try:
        atomic.read_json(file)
    except RunError as error:
        aside = file.with_name(f"damaged-{file.name}")
        with atomic.disk_errors(aside):
            file.replace(aside)
        progress.warn(f"{error}; it was moved to {aside.name} and is written again")
        return False
    return True


def _begin(run: RunDirectory, loaded: Loaded, key: str, progress: Progress) -> None:
    """Writes the run's record, and says what differs from the last time."""
    record = run.folder / "environment.json"
    now = machine.describe()
    _readable(run.state_file, progress)
    if _readable(record, progress):
        for line in machine.differences(atomic.read_json(record), now):
            progress.warn(f"since this run began: {line}")
    else:
        atomic.write_json(record, now)
    atomic.write_text(run.folder / "recipe.yaml", loaded.text)
    atomic.write_text(run.resolved_file, to_yaml(loaded.recipe))
    state = run.state()
    run.note(
        name=run.name,
        id=run.id,
        fingerprint=key,
        recipe=str(loaded.path.absolute()),  # the run is found from any folder
        started=state.get("started", _now()),
        starts=state.get("starts", 0) + 1,
        state="running",
        finished=None,
        error=None,
        command=["ftune", *sys.argv[1:]],
        offline=environment.offline(),
    )


def _keep_record(run: RunDirectory, work: Callable[[], object], progress: Progress) -> None:
    """Does the work, and notes in run.json how it ended."""
    from ftune.report.write import write_run_report

    before = run.state().get("seconds", 0.0)
    started = time.monotonic()

    def note(state: str, error: str | None = None) -> None:
        seconds = round(before + time.monotonic() - started, 3)
        run.note(state=state, error=error, finished=_now(), seconds=seconds)

    try:
        work()
    except Interrupted as error:
        try:
            note("interrupted", str(error))
            write_run_report(run.folder)
        except RunError as second:  # the record is missing, not what was saved
            raise Interrupted(f"{error}; {second}", error.exit_code) from error
        raise
    except BaseException as error:
        with suppress(Exception):  # on a full disk the first error says more
            note("failed", f"{type(error).__name__}: {error}")
            write_run_report(run.folder)
            progress.say(f"how far it came: {run.folder / 'report.html'}")
        raise
    note("done")
    write_run_report(run.folder)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
