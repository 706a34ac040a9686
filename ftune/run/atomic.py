"""Files that are there whole or not at all: written beside, synced, renamed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftune.errors import RunError
from ftune.run.secrets import redacted

TEMPORARY = ".part-"  # start of the names of files and folders that are not finished


def sync_folder(folder: Path) -> None:
    """Makes renames inside ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns an OSError while writing ``path`` into a RunError that says how much room there is."""
    try:
        yield
    except TimeoutError:  # of a lock: no matter of the disk
        raise
    except OSError as error:
        raise RunError(
            f"{path}: could not be written ({error.strerror or error}); {free_space(path)}; "
            "what was complete before is untouched: make room or choose another runs_dir, "
            "and run the same command again"
        ) from error


def free_space(path: Path) -> str:
    """How many bytes are free where ``path`` would be, in words."""
    there = next(p for p in [path, *path.parents] if p.exists())
    stat = os.statvfs(there)
    return f"{stat.f_bavail * stat.f_frsize / 1e6:,.1f} MB are free on its disk"


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Calls ``fill`` with a temporary path, syncs what it wrote, and renames it to ``path``."""
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    with disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fill(temporary)
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, exact: bool = False) -> None:
    """Writes UTF-8 text, without secrets unless ``exact``: records are kept, copied, sent on."""
    text = text if exact else redacted(text)
    write(path, lambda p: p.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any, exact: bool = False) -> None:
    """Writes JSON with sorted keys; NaN is refused, since JSON has none; as ``write_text``."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n", exact)


def read_json(path: Path) -> Any:
    """Reads JSON that ftune wrote.

    Raises:
        RunError: the file is not there or not whole.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: can't be read ({error})") from error


def clear_stale(path: Path) -> None:
    """Removes what killed processes of this machine left half-written in place of ``path``.

    What a process that lives may still write is left alone, and what was moved away to be replaced.
    """
    name = re.compile(rf"{re.escape(TEMPORARY)}(\d+)-{re.escape(path.name)}")
    with disk_errors(path):
        for left in path.parent.iterdir() if path.parent.is_dir() else ():
            found = name.fullmatch(left.name)
            if found and not _lives(int(found[1])):
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left)
                else:
                    left.unlink()


def _lives(pid: int) -> bool:
    if sys.platform == "win32":  # where signal 0 ends a process
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of another user
        return True
    return True


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digests(folder: Path, files: list[Path]) -> dict[str, dict[str, Any]]:
    """Size in bytes and sha256 of each file, by its path below ``folder``."""
    return {
        str(f.relative_to(folder)): {"bytes": f.stat().st_size, "sha256": sha256(f)} for f in files
    }


def damaged(folder: Path, listed: dict[str, dict[str, Any]]) -> list[str]:
    """What is wrong with the files of a manifest: missing, of another size, of another digest."""
    problems = []
    for name, facts in listed.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{path} is missing")
        elif path.stat().st_size != facts["bytes"]:
            problems.append(f"{path} has {path.stat().st_size} bytes instead of {facts['bytes']}")
        elif sha256(path) != facts["sha256"]:
            problems.append(f"{path} is damaged: its sha256 differs from the manifest")
    return problems
