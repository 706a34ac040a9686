"""``ftune.json`` beside trained weights: what they belong to, and that they are whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftune.errors import ModelError, RunError
from ftune.model import weights
from ftune.run import atomic

NAME = "ftune.json"
VERSION = 1


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """A new folder beside ``folder`` that takes its place when the block ends without an error.

    Raises:
        RunError: it can't be written; ``folder`` is then as it was.
    """
    from safetensors import SafetensorError

    part = folder.with_name(f"{atomic.TEMPORARY}{os.getpid()}-{folder.name}")
    old = folder.with_name(f"{atomic.TEMPORARY}{os.getpid()}-old-{folder.name}")
    with atomic.disk_errors(folder):
        try:
            atomic.clear_stale(folder)
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            try:
                yield part
            except Exception as error:
                # How safetensors and tokenizers, written in Rust, tell a full disk.
                if isinstance(error, SafetensorError) or "(os error " in str(error):
                    raise OSError(str(error)) from error
                raise
            for path in part.rglob("*"):
                if path.is_file():
                    with path.open("rb") as handle:
                        os.fsync(handle.fileno())
            atomic.sync_folder(part)
            if folder.exists():
                folder.rename(old)
            part.rename(folder)
            atomic.sync_folder(folder.parent)
        finally:
            if old.exists() and not folder.exists():
                old.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
            shutil.rmtree(part, ignore_errors=True)


def write(folder: Path, method: str, base: Mapping[str, Any], tasks: Sequence[str] = ()) -> None:
    """Describes all files in ``folder``, and the tensors with their norms (float64, L2).

    ``tasks`` are the names of those that the weights know apart, if they do.
    """
    from safetensors.torch import load_file

    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            norm = float(tensor.double().norm())
            tensors[name] = {"shape": list(tensor.shape), "norm": norm}
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    told = {
        "version": VERSION,
        "method": method,
        "base": dict(base),
        "tensors": tensors,
        "files": atomic.digests(folder, files),
    }
    atomic.write_json(folder / NAME, {**told, "tasks": list(tasks)} if tasks else told)


def read(folder: Path) -> dict[str, Any] | None:
    """What ``write`` wrote, once all files are proved whole; None if PEFT wrote the folder.

    Raises:
        ModelError: the folder or a file is missing or damaged.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: there is no such folder")
    if not (folder / NAME).exists():
        return None
    told = weights.read_json(folder, NAME)
    try:
        if told["version"] != VERSION:
            raise ModelError(f"{folder / NAME}: version {told['version']} is newer than this ftune")
        for name in told["files"]:
            weights.inside(folder, folder / name)
        problems = atomic.damaged(folder, told["files"])
        problems += _extra(folder, told["files"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder / NAME}: is damaged ({error!r}); copy it again") from error
    except (OSError, RunError) as error:
        raise ModelError(str(error)) from error
    if problems:
        raise ModelError(f"{'; '.join(problems)}; copy the folder again, or train again")
    return told


def tasks(folder: Path) -> tuple[str, ...]:
    """The tasks that the weights in ``folder`` know apart; none where they know none."""
    told = weights.read_json(folder, NAME) if (folder / NAME).is_file() else {}
    return tuple(told.get("tasks", ()))


def _extra(folder: Path, listed: Mapping[str, Any]) -> list[str]:
    """Weights that the manifest does not know: they might be read in place of its own."""
    found = {str(p.relative_to(folder)) for p in folder.rglob("*.safetensors")}
    return [f"{folder / name} is not in {NAME}" for name in sorted(found - set(listed))]


def check_base(
    folder: Path, told: Mapping[str, Any] | None, base: Mapping[str, Any]
) -> tuple[str, ...]:
    """Refuses a base whose weights are not those that ``told`` was trained on.

    Returns notes on what could not be proved.
    """
    if told is None:
        return (f"{folder}: was not saved by ftune, so that it fits {base['name']} is not proved",)
    trained_on = told["base"]
    if trained_on["fingerprint"] != base["fingerprint"]:
        raise ModelError(
            f"{folder}: was trained on {_words(trained_on)}, but the base is {_words(base)}; its "
            "weights are others: name the base that it was trained on"
        )
    return ()


def _words(identity: Mapping[str, Any]) -> str:
    mark = identity.get("commit") or identity["fingerprint"]
    return f"{identity['name']} ({str(mark)[:12]})"
