"""The runs below a folder, and the one that a user names."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ftune.errors import RunError
from ftune.report.state import moment
from ftune.report.tolerant import read_json
from ftune.run import directory
from ftune.run.directory import RUN_ID

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def run_folders(runs_dir: Path) -> list[Path]:
    """All runs below ``runs_dir``, or of one recipe if that is its folder; newest first."""
    found = [*_ids(runs_dir)]
    for home in _folders(runs_dir):
        found += _ids(home)
    return sorted(found, key=_age, reverse=True)


def _age(folder: Path) -> tuple[datetime, str, int]:
    started = moment(read_json(folder / "run.json", [])) or _LONG_AGO
    return started, folder.parent.name, int(folder.name)


def _folders(folder: Path) -> Iterator[Path]:
    try:
        yield from (f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
    except OSError as error:
        raise RunError(f"{folder}: can't be listed ({error.strerror or error})") from error


def _ids(home: Path) -> Iterator[Path]:
    return (f for f in _folders(home) if RUN_ID.fullmatch(f.name))


def find_run(target: str, runs_dir: Path) -> Path:
    """The folder of the run that ``target`` names: a path, ``name`` (its newest) or ``name/id``.

    Raises:
        RunError: there is none; the message names near ones.
    """
    try:
        found = directory.find(Path(target), runs_dir)
    except (OSError, ValueError):  # no file could have this name, or its folder is closed to us
        found = None
    if found:
        return found.folder
    known = run_folders(runs_dir) if runs_dir.is_dir() else []
    if not known:
        raise RunError(
            f"{target}: is no run, and there are none below {runs_dir}; "
            "name its folder, or the folder of all runs with --runs-dir"
        )
    near = _near(target.strip("/"), [f"{f.parent.name}/{f.name}" for f in known])
    hint = f"did you mean {' or '.join(near)}?" if near else "see `ftune runs list`"
    raise RunError(f"{target}: is no run, neither as a path nor below {runs_dir}; {hint}")


def _near(target: str, known: list[str]) -> list[str]:
    """At most three of ``known``: of the same id, or of a recipe with a like name."""
    names = {each.partition("/")[0] for each in known}
    parts = target.split("/")
    like = [n for part in parts for n in difflib.get_close_matches(part, names, cutoff=0.5)]
    same_id = [each for each in known if each.partition("/")[2] == target]
    of_names = [each for name in like for each in known if each.startswith(f"{name}/")]
    return list(dict.fromkeys(same_id + of_names))[:3]
