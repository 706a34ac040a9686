"""One process at a time in a run directory."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ftune.errors import RunError
from ftune.run import atomic


@contextmanager
def locked(
    folder: Path, what: str = "run", remedy: str = "start another run with --fresh"
) -> Iterator[None]:
    """Holds ``folder``; the lock goes with the process, so a killed holder leaves none behind.

    ``what`` it is, and what else to do than to wait, are said where another process holds it.

    Raises:
        RunError: another process holds it; the message names that process.
    """
    holder = folder / "lock.json"
    lock = FileLock(folder / "lock", timeout=0)
    try:
        with atomic.disk_errors(folder / "lock"):
            lock.acquire()
    except Timeout as error:
        raise RunError(
            f"{folder}: {_who(holder)} is working in this {what}; wait for it, stop it, or {remedy}"
        ) from error
    try:
        facts = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
        with atomic.disk_errors(holder):
            atomic.write_json(holder, facts)  # never into a file that a link leads to
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _who(holder: Path) -> str:
    try:
        facts = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {facts['pid']} on {facts['host']} (since {facts['since']})"
    except (OSError, ValueError, KeyError):
        return "another process"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
