"""Checkpoints: written aside, synced, listed in a manifest, renamed; the newest whole one is used.

``checkpoints/step-000200/`` holds safetensors and JSON, never a pickle, and ``manifest.json`` with
the size and sha256 of each file, written last.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ftune.errors import RunError
from ftune.run import atomic
from ftune.run.progress import Progress
from ftune.train import streamed
from ftune.train.gathering import is_split

MANIFEST = "manifest.json"
REPLACED = ".old-"  # start of the name of a checkpoint while another of its step takes its place
Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint: its step and folder, and its ``state`` (what is JSON)."""

    step: int
    folder: Path
    state: dict[str, Any]

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors of ``<name>.safetensors``, on the CPU."""
        from safetensors.torch import load_file

        return load_file(self.folder / f"{name}.safetensors")


def path_of(root: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return root / f"step-{step:06d}"


def steps(root: Path) -> list[int]:
    """Steps of the checkpoints that are there, whole or not, the newest first."""
    names = [p.name[5:] for p in root.glob("step-*") if p.is_dir()]
    return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def begun_with(root: Path) -> int | None:
    """The number of processes that the newest readable checkpoint's training began with."""
    for step in steps(root):
        try:
            state = json.loads((path_of(root, step) / "state.json").read_text(encoding="utf-8"))
            return int(state["identity"]["processes"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged: it is named when it is looked for
    return None


def save(root: Path, step: int, state: Mapping[str, Any], parts: Mapping[str, Tensors]) -> None:
    """Writes the checkpoint of a step; ``parts`` are the tensors of each file.

    Those of a file that are split are gathered one at a time (``streamed.write``).

    Raises:
        RunError: it could not be written; what was there is untouched.
    """
    final = path_of(root, step)
    part = root / f"{atomic.TEMPORARY}{os.getpid()}-{final.name}"
    with _full_disk_told(root, step, parts):
        try:
            part.mkdir(parents=True, exist_ok=True)
            _write(part, state, parts)
            if final.exists():  # the same step again, after its evaluation
                old = root / f"{REPLACED}{final.name}"
                final.rename(old)
                part.rename(final)
                _remove(old)
            else:
                part.rename(final)
            atomic.sync_folder(root)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _write(folder: Path, state: Mapping[str, Any], parts: Mapping[str, Tensors]) -> None:
    from safetensors.torch import save_file

    files = []
    for name, tensors in parts.items():
        files.append(folder / f"{name}.safetensors")
        if any(map(is_split, tensors.values())):
            streamed.write(files[-1], tensors)
        else:
            save_file({key: t.detach().contiguous() for key, t in tensors.items()}, files[-1])
    files.append(folder / "state.json")
    files[-1].write_text(json.dumps(state, allow_nan=False), encoding="utf-8")
    manifest = folder / MANIFEST
    for file in files:
        _sync(file)
    listed = json.dumps({"files": atomic.digests(folder, files)}, indent=2, sort_keys=True)
    manifest.write_text(listed + "\n", encoding="utf-8")
    _sync(manifest)
    atomic.sync_folder(folder)


def _sync(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


@contextmanager
def _full_disk_told(root: Path, step: int, parts: Mapping[str, Tensors]) -> Iterator[None]:
    """Turns a failed write into a RunError with the bytes needed and free, and what is safe."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        need = sum(t.numel() * t.element_size() for ts in parts.values() for t in ts.values())
        whole = next((s for s in steps(root) if not problems(path_of(root, s))), None)
        safe = (
            f"the checkpoint {path_of(root, whole)} is whole and safe"
            if whole is not None
            else "there is no earlier checkpoint"
        )
        raise RunError(
            f"{path_of(root, step)}: the checkpoint could not be written "
            f"({getattr(error, 'strerror', None) or error}); it needs {need / 1e6:,.1f} MB "
            f"({need:,} bytes), and {atomic.free_space(root)}; {safe}; "
            "make room and run the same command again, which goes on from there"
        ) from error


def problems(folder: Path) -> list[str]:
    """Why a checkpoint can't be used; empty if it is whole."""
    manifest = folder / MANIFEST
    try:
        listed = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        wrong = atomic.damaged(folder, listed)
        if not wrong:
            json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{manifest} can't be read ({error})"]
    return wrong


def newest(root: Path, progress: Progress) -> Checkpoint | None:
    """The newest whole checkpoint; damaged ones are told and moved to ``damaged-step-...``."""
    damaged = False
    for step in steps(root):
        folder = path_of(root, step)
        wrong = problems(folder)
        if not wrong:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            return Checkpoint(step, folder, state)
        aside = _free_name(root / f"damaged-{folder.name}")
        with atomic.disk_errors(folder):
            folder.rename(aside)
        progress.warn(
            f"the checkpoint of step {step} is damaged and not used: {'; '.join(wrong)}; "
            f"it was moved to {aside.name}, and the next older one is looked for"
        )
        damaged = True
    if damaged:
        progress.warn(
            f"{root}: no whole checkpoint is left; the training starts from the beginning"
        )
    return None


def _free_name(path: Path) -> Path:
    names = (path if n == 0 else path.with_name(f"{path.name}-{n}") for n in range(10_000))
    return next(p for p in names if not p.exists())


def clean(root: Path) -> None:
    """Removes what killed saves and removals left behind, and undoes a half-done replacement."""
    with atomic.disk_errors(root):
        for old in root.glob(f"{REPLACED}step-*"):
            final = root / old.name.removeprefix(REPLACED)
            if final.exists():
                shutil.rmtree(old)
            else:
                old.rename(final)
        for part in root.glob(f"{atomic.TEMPORARY}*"):
            shutil.rmtree(part)


def rotate(root: Path, keep: int, pinned: int | None) -> None:
    """Removes all but the newest ``keep`` checkpoints and the one of step ``pinned``."""
    with atomic.disk_errors(root):
        for step in steps(root)[keep:]:
            if step != pinned:
                _remove(path_of(root, step))


def _remove(folder: Path) -> None:
    """Renamed first: a kill in between leaves rubbish, not a damaged checkpoint."""
    rubbish = folder.with_name(f"{atomic.TEMPORARY}{os.getpid()}-gone-{folder.name}")
    folder.rename(rubbish)
    shutil.rmtree(rubbish)
