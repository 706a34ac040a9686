"""What a checkpoint holds of a training, and how a training goes on from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ftune.errors import RunError
from ftune.train import checkpoint, gathering, randomness, streamed
from ftune.train.background import Background, Copies
from ftune.train.engine import Engine
from ftune.train.flattening import flatten, unflatten
from ftune.train.job import Job
from ftune.train.state import State
from ftune.train.zero_state import shape

METHOD = "method"  # the file with what the tuning method remembers, if it does
FORMAT = 1  # raised when an older checkpoint can't be read any more


class Saver:
    """Saves and resumes one training; only the first process writes.

    What is saved is copied at once and written beside the loop, one save at a time.
    """

    def __init__(self, job: Job, engine: Engine, total: int) -> None:
        self._engine, self._job = engine, job
        self.root: Path = job.folder / "checkpoints"
        self.resumed_from: int | None = None
        self._saved: State | None = None  # as of the last save, under way or done, or the resume
        self._beside, self._copies = Background(), Copies()
        shapes = [(n, shape(p), str(p.dtype)) for n, p in engine.trained.items()]
        own = {
            "format of checkpoints": FORMAT,
            "processes": engine.processes,
            "steps in all": total,
            "trainable parameters": hashlib.sha256(json.dumps(shapes).encode()).hexdigest(),
        }
        self._identity = json.loads(json.dumps({**own, **job.identity}))

    @contextmanager
    def open(self) -> Iterator[None]:
        """However what is inside ends, no save is under way after it."""
        try:
            yield
        except BaseException:
            try:
                self._beside.wait()
            except RunError as error:  # the first error is the one to tell
                self._job.progress.warn(str(error))
            raise
        self.finish()

    def check(self) -> None:
        """Raises RunError if the save under way has failed meanwhile; doesn't wait."""
        self._beside.check()

    def finish(self) -> None:
        """Waits until what was saved is on the disk; all processes must call it alike.

        Raises:
            RunError: it could not be written.
        """
        self._beside.wait()
        self._engine.accelerator.wait_for_everyone()
        if self._saved is not None:
            self._note_safe(self._saved)

    def save(self, state: State, before: Callable[[], None] = lambda: None) -> None:
        """Begins to write the checkpoint of this step, after which those beyond the limit go.

        It is written beside the loop where memory has room for a copy, else waited for.
        ``before`` is called before anything is written, in the thread that writes.

        Raises:
            RunError: a weight is not finite, or it, or the one before, could not be written.
        """
        if state == self._saved:
            return
        self._beside.wait()
        zero = self._engine.zero
        bad = zero.not_finite() if zero else gathering.not_finite(self._engine.trained)
        if bad:
            raise RunError(
                f"step {state.step}: {bad[0]} is no longer finite ({len(bad)} tensors), so no "
                f"checkpoint was written; lower train.learning_rate "
                f"(now {self._job.settings.learning_rate:g}) and run the same command again"
            )
        states = self._all_random_states()
        if self._saved is not None:  # the first process has waited for it, and all for that one
            self._note_safe(self._saved)
        first = self._engine.process == 0
        trained, remembered = self._engine.contents(first)
        optimizer, tensors = flatten(remembered, "optimizer")
        piecewise = self._piecewise({"weights": trained, "optimizer": tensors}, first)
        weights = trained if piecewise else gathering.whole(trained, first)
        moments = tensors if piecewise else gathering.whole(tensors, first)
        self._saved = replace(state)
        if piecewise and not first:
            streamed.follow(weights)
            streamed.follow(moments)
        if first:
            own = {id(t) for n, t in weights.items() if t is not self._engine.trained[n]}
            own |= {id(t) for n, t in moments.items() if t is not tensors[n]}
            self._write(self._saved, weights, (optimizer, moments), states, own, before, piecewise)

    def _piecewise(self, parts: Mapping[str, checkpoint.Tensors], first: bool) -> bool:
        """Whether split tensors are gathered one at a time as they are written, as the first
        process has no room for all of them; else they are gathered and written beside the loop."""
        if self._engine.sharding is None:
            return False
        return bool(self._engine.total(float(first and not self._copies.fits(parts))))

    def _note_safe(self, state: State) -> None:
        self._job.stop.safe = f"the checkpoint {self.folder(state)} is whole"

    def folder(self, state: State) -> Path:
        """Where the checkpoint of this step is."""
        return checkpoint.path_of(self.root, state.step)

    def _write(
        self,
        state: State,
        weights: checkpoint.Tensors,
        optimizer: tuple[Any, checkpoint.Tensors],
        states: list[tuple[Any, Any]],
        own: set[int],
        before: Callable[[], None],
        piecewise: bool,
    ) -> None:
        """``own``: ids of the tensors that were made for this save; others are still trained."""
        scaler = self._engine.accelerator.scaler
        content = {
            "identity": self._identity,
            "state": asdict(state),
            "optimizer": optimizer[0],
            "schedule": flatten(self._engine.schedule.state_dict(), "schedule")[0],
            "scaler": None if scaler is None else scaler.state_dict(),
            "random": [plain for _, plain in states],
        }
        random = {f"{i}.{k}": t for i, (ts, _) in enumerate(states) for k, t in ts.items()}
        parts: dict[str, checkpoint.Tensors] = {
            "weights": weights,
            "optimizer": optimizer[1],
            "random": random,
        }
        if self._job.hooks.state:
            parts[METHOD] = self._job.hooks.state()
        limit = self._job.settings.save_total_limit
        beside = not piecewise and self._copies.fits(parts)
        if beside:
            parts = {**self._copies.take(parts, own | set(map(id, random.values())))}

        def write() -> None:
            before()
            checkpoint.save(self.root, state.step, content, parts)
            self._note_safe(state)
            checkpoint.rotate(self.root, limit, state.best_step)

        if piecewise:  # the others wait for each tensor
            write()
            return
        self._beside.begin(write)
        if not beside:
            self._beside.wait()

    def _all_random_states(self) -> list[tuple[dict[str, torch.Tensor], dict[str, Any]]]:
        own = randomness.capture()
        if self._engine.processes == 1:
            return [own]
        from accelerate.utils import gather_object

        return gather_object([own])

    def resume(self) -> State:
        """The state of the newest whole checkpoint, put back everywhere; else a new one.

        Raises:
            RunError: the checkpoint belongs to another training.
        """
        found = None
        if self._engine.process == 0:
            checkpoint.clean(self.root)
            found = checkpoint.newest(self.root, self._job.progress)
        self._engine.accelerator.wait_for_everyone()
        if self._engine.process:  # what is damaged is out of the way now
            found = checkpoint.newest(self.root, self._job.progress)
        if found is None:
            return State()
        self._check_identity(found)
        self._load_trained(found)
        tensors = found.tensors("optimizer")
        optimizer = self._engine.optimizer
        whole = unflatten(found.state["optimizer"], tensors)
        optimizer.load_state_dict(gathering.state_like(whole, optimizer.optimizer))
        self._engine.schedule.load_state_dict(found.state["schedule"])
        if found.state["scaler"] is not None:
            self._engine.accelerator.scaler.load_state_dict(found.state["scaler"])
        self._restore_random(found)
        self.resumed_from = found.step
        self._job.progress.say(f"going on from the checkpoint of step {found.step}")
        state = State(**found.state["state"])
        self._saved = replace(state)
        self._note_safe(state)
        return state

    def _restore_random(self, found: checkpoint.Checkpoint) -> None:
        """What dropout draws next: as if never stopped, where there are as many processes as then.

        Else each draws anew, by the seed, the step and its number.
        """
        plain = found.state["random"]
        if len(plain) != self._engine.processes:
            number = self._job.settings.seed + 1_000_003 * found.step
            randomness.seed(number, self._engine.process)
            return
        start = f"{self._engine.process}."
        tensors = found.tensors("random").items()
        own = {k.removeprefix(start): t for k, t in tensors if k.startswith(start)}
        randomness.restore(own, plain[self._engine.process])

    def _check_identity(self, found: checkpoint.Checkpoint) -> None:
        before = found.state["identity"]
        keys = sorted(before.keys() | self._identity.keys())
        changed = [
            f"{key} was {before.get(key)} and is {self._identity.get(key)}"
            for key in keys
            if before.get(key) != self._identity.get(key)
        ]
        if changed:
            raise RunError(
                f"{found.folder}: this training can't go on from it: {'; '.join(changed)}; "
                "set that back, or start anew with --fresh"
            )

    def _load_trained(self, found: checkpoint.Checkpoint) -> None:
        """The weights, and what the tuning method remembers beside them."""
        self.load_weights(found)
        if self._job.hooks.load_state:
            self._job.hooks.load_state(found.tensors(METHOD))

    def load_weights(self, found: checkpoint.Checkpoint) -> None:
        """Puts a checkpoint's weights into the model.

        Raises:
            RunError: they are not those of this model.
        """
        saved, own = found.tensors("weights"), self._engine.trained
        wrong = [
            name
            for name in saved.keys() | own.keys()
            if name not in saved or name not in own or list(saved[name].shape) != shape(own[name])
        ]
        if wrong:
            raise RunError(
                f"{found.folder / 'weights.safetensors'}: {len(wrong)} tensors are not those of "
                f"this model, among them {min(wrong)}; start anew with --fresh"
            )
        if self._engine.zero is not None:
            self._engine.zero.load_weights(saved)
            return
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(gathering.like(saved[name], parameter))

    def load_best(self, state: State) -> int:
        """Puts the best weights back; the step whose weights the model holds then."""
        if state.best_step is None or state.best_step == state.step:
            return state.step
        folder = checkpoint.path_of(self.root, state.best_step)
        wrong = checkpoint.problems(folder)
        if wrong:
            self._job.progress.warn(
                f"the best weights, of step {state.best_step}, can't be loaded: "
                f"{'; '.join(wrong)}; the last ones are kept"
            )
            return state.step
        self._load_trained(checkpoint.Checkpoint(state.best_step, folder, {}))
        return state.best_step
