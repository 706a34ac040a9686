"""How a run stands: what it says of itself, and whether its process is still there."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ftune.report.tolerant import number, read_json, text
from ftune.run.directory import RUN_ID


def called(folder: Path, facts: Mapping[str, Any]) -> tuple[str, str]:
    """The run's name and number: as its folders say, by which commands find it where it is now.

    What was moved to a folder of another kind is called as it was when it ran.
    """
    folder = folder.absolute()
    if RUN_ID.fullmatch(folder.name):
        return folder.parent.name, folder.name
    return text(facts.get("name")) or folder.parent.name, text(facts.get("id")) or folder.name


def state_of(folder: Path, facts: Mapping[str, Any]) -> str:
    """running, interrupted, failed or done, as run.json says; "killed" if it says running but the
    process that held the run is gone; "unknown" without a run.json."""
    state = text(facts.get("state")) or "unknown"
    return "killed" if state == "running" and not _held(folder) else state


def _held(folder: Path) -> bool:
    """Whether the process named in lock.json lives; of another machine's process we can't tell."""
    holder = read_json(folder / "lock.json", [])
    pid = number(holder.get("pid"))
    if pid is None:
        return False
    if holder.get("host") != socket.gethostname():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # it is there, and somebody else's
    return True


def moment(facts: Mapping[str, Any], key: str = "started") -> datetime | None:
    """A time in run.json; one without a time zone is taken as UTC."""
    try:
        when = datetime.fromisoformat(text(facts.get(key)))
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def when(facts: Mapping[str, Any], key: str = "started") -> str:
    """The same for people, in local time; empty if it isn't there."""
    found = moment(facts, key)
    return found.astimezone().strftime("%Y-%m-%d %H:%M:%S") if found else ""
