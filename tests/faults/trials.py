"""One trial: a run is disturbed at random moments, started again until it ends, and compared."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compare import differences
from parent import Parent
from world import VARIANTS

STARTS = 6  # of a run that nothing disturbs any more; one must do, unless it is stuck
# Where no file is touched, so that only a call can tell the moment.
CALLS = {
    "in a step": ("torch:Tensor.backward", 12),
    "after a step's update": ("torch.optim:AdamW.step", 8),
    "in the loss on held-out rows": ("ftune.train.evaluating:to_device", 6),
    "as a save begins to write": ("ftune.train.checkpoint:_write", 8),
    "as a save is listed": ("ftune.run.atomic:digests", 8),
    "before a rotation": ("ftune.train.checkpoint:rotate", 8),
    "between stages": ("ftune.run.pipeline:_is_done", 4),
    "in the evaluation": ("ftune.evaluate.predicting:generate", 2),
    "before the adapter is saved": ("ftune.model.adapters:save", 1),
}


@dataclass
class Trial:
    """What became of one."""

    number: int
    variant: str
    places: list[str] = field(default_factory=list)  # where each disturbance met the run
    wrong: list[str] = field(default_factory=list)
    starts: int = 0


class Field:
    """Where trials take place: references, and how long and how many files their runs take."""

    def __init__(
        self, home: Path, parent: Parent, folder: Path, variants: Sequence[str] = tuple(VARIANTS)
    ) -> None:
        self.home, self.parent, self.folder = home, parent, folder
        self._variants = variants
        self._known: dict[str, tuple[Path, float, int]] = {}

    def reference(self, variant: str) -> tuple[Path, float, int]:
        """The undisturbed run, its seconds, and its changes to files."""
        if variant not in self._known:
            folder, note = self.folder / f"reference-{variant}", self.folder / "count"
            folder.mkdir(parents=True)
            count = {"fault": "at_file", "number": 0, "do": "", "note": str(note)}
            started = time.monotonic()
            done = self.parent.train(folder, self.home / f"{variant}.yaml", faults=[count])
            assert done.code == 0, done.err
            seconds = time.monotonic() - started
            run = folder / "runs" / variant / "001"
            self._known[variant] = (run, seconds, int(note.read_text()))
        return self._known[variant]

    def trial(self, number: int, do: str, rng: random.Random) -> Trial:
        """Kills it once to three times (``do``: kill), or lets its disk fill up (full, broken)."""
        trial = Trial(number, self._variants[number % len(self._variants)])
        reference, seconds, changes = self.reference(trial.variant)
        folder = self.folder / f"trial-{number}"
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            trial.starts += 1
            if do == "kill":
                place = self._kill(folder, trial.variant, seconds, changes, rng)
            else:
                place = self._fill(folder, trial, do, changes, rng)
            if place:
                trial.places.append(place)
        self._finish(folder, trial)
        if not trial.wrong:
            newest = sorted((folder / "runs" / trial.variant).iterdir())[-1]
            trial.wrong = differences(newest, reference)
        if not trial.wrong:
            shutil.rmtree(folder)
        return trial

    def _finish(self, folder: Path, trial: Trial) -> None:
        trial.starts += 1
        done = self.parent.train(folder, self.home / f"{trial.variant}.yaml")
        if done.code:
            trial.wrong.append(f"does not go on (exit code {done.code}): {done.err}")
        if "damaged" in done.err or list(folder.rglob("*.old-*")):
            trial.wrong.append(f"something was found damaged: {done.err}")

    def _kill(
        self, folder: Path, variant: str, seconds: float, changes: int, rng: random.Random
    ) -> str:
        """Starts the run and kills it; where that was, empty if it had ended before."""
        recipe, note = self.home / f"{variant}.yaml", self.folder / "note"
        # Half of the runs have steps beside each save, as a model of some size has.
        slow = [{"fault": "slow_saves", "seconds": 0.02}] * rng.randint(0, 1)
        way = rng.random()
        if way < 0.4:
            started = self.parent.begin(folder, recipe, faults=slow)
            time.sleep(rng.uniform(0, seconds))
            started.kill()
            done = started.wait()
            place = _under_way(folder, variant)
        elif way < 0.8:
            at = rng.randint(1, changes)
            fault = {"fault": "at_file", "number": at, "do": "kill", "note": str(note)}
            done = self.parent.train(folder, recipe, faults=[fault, *slow])
            place = _place(note.read_text())
        else:
            place, (target, most) = rng.choice(list(CALLS.items()))
            at = rng.randint(1, most)
            fault = {"fault": "at_call", "target": target, "number": at, "do": "kill"}
            done = self.parent.train(folder, recipe, faults=[fault, *slow])
        assert done.code in (0, -signal.SIGKILL), done.err
        return place if done.code else ""

    def _fill(self, folder: Path, trial: Trial, do: str, changes: int, rng: random.Random) -> str:
        """Starts the run with a disk that takes nothing from a random change on."""
        recipe, note = self.home / f"{trial.variant}.yaml", self.folder / "note"
        fault: dict[str, Any] = {"fault": "at_file", "do": do, "note": str(note)}
        fault |= {"number": rng.randint(1, changes), "forever": rng.random() < 0.7}
        done = self.parent.train(folder, recipe, faults=[fault])
        if done.code not in (0, 5) or "unexpected" in done.err or "Traceback" in done.err:
            trial.wrong.append(f"exit code {done.code}: {done.err}")
        if done.code == 5 and " free on its disk" not in done.err:
            trial.wrong.append(f"not told what is free: {done.err}")
        met = note.read_text()
        # A full disk still lets one remove, so a run may end well if that was all it had to do.
        removal = met.startswith(("os.remove", "os.rmdir"))
        if done.code == 0 and met and fault["forever"] and not removal:
            trial.wrong.append(f"a full disk went unnoticed at {met}")
        return _place(met) if done.code else ""


def _place(met: str) -> str:
    """What the run was doing, by the change that it was about to make."""
    event, _, path = met.partition(" ")
    if "/checkpoints/" in path:
        removal = "-gone-" in path or event in ("os.remove", "os.rmdir")
        return "in a rotation" if removal else "in a save"
    for name in ("format", "load", "train", "evaluate"):
        if f"/{name}/" in path:
            return f"at a file of {name}"
    return "at the run's record"


def _under_way(folder: Path, variant: str) -> str:
    """The stage that is begun and not done."""
    runs = sorted((folder / "runs" / variant).glob("*"))
    for name in ("format", "load", "train", "evaluate"):
        if not runs or not (runs[-1] / name / "done.json").exists():
            begun = runs and (runs[-1] / name / "begin.json").exists()
            return f"at a moment in {name}" if begun else "at a moment between stages"
    return "at a moment while reporting"


def summary(trials: list[Trial], do: str) -> str:
    """The count, and where."""
    good = sum(not t.wrong for t in trials)
    places = Counter(place for t in trials for place in t.places)
    word = "kills" if do == "kill" else "failed writes"
    lines = [
        f"{good} of {len(trials)} trials ended like an undisturbed run, "
        f"after {sum(places.values())} {word} and {sum(t.starts for t in trials)} starts:"
    ]
    lines += [f"{count:6d} {place}" for place, count in sorted(places.items())]
    return "\n".join(lines)
