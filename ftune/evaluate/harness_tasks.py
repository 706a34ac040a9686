"""Which of the harness's task files are read: the user's own, and those that ship with it where
they are named.

The harness has some 14,000 of them, and takes many seconds to read them all.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ftune.errors import RecipeError

LISTED = 30  # names in an error message
NAME = re.compile(r"""^["']?task["']?\s*:\s*["']?([^\s"'#\[{]+)""", re.MULTILINE)


def manager(names: Iterable[str], folder: Path | None) -> Any:
    """The harness's register of tasks, with all that ``names`` need.

    Groups of the ``folder`` may take in tasks that ship with the harness.

    Raises:
        RecipeError: a name is no task, group or tag, or a group takes in one that is none.
    """
    from lm_eval.tasks import TaskManager

    asked = list(names)
    own = TaskManager(include_path=str(folder), include_defaults=False) if folder else None
    there = set(own.all_tasks) if own else set()
    members = list(_reached(own, asked)) if own else []
    needed = {*asked, *(name for name, is_whole in members if not is_whole)}
    places = _folders((needed | {name for name, _ in members}) - there)
    if needed <= there | set(places):
        paths = [str(path) for path in dict.fromkeys(places.values())]
        paths += [str(folder)] if folder else []  # later ones count
        found = TaskManager(include_path=paths, include_defaults=False)
        if needed <= set(found.all_tasks):
            return found
    found = TaskManager(include_path=str(folder) if folder else None)
    for index, name in enumerate(asked):
        mine = f"; in {folder}: {', '.join(sorted(there)[:LISTED])}" if folder else ""
        _check(f"evaluate.suites[{index}]: {name!r} is", name, list(found.all_tasks), mine)
    for name in sorted(needed):
        where = f"evaluate.harness.include_path: {folder}: a group takes in {name!r}, which is"
        _check(where, name, list(found.all_tasks))
    return found


def _reached(own: Any, asked: list[str]) -> Iterator[tuple[str, bool]]:
    """The members of the groups of one's own that are asked, and of the groups among those."""
    waiting, done = list(asked), set()
    while waiting:
        name = waiting.pop()
        if name in done or name not in own.task_index:
            continue
        done.add(name)
        found = list(_members(own.task_index[name].cfg or {}))
        yield from found
        waiting += [member for member, _ in found]


def _members(group: Any) -> Iterator[tuple[str, bool]]:
    """The names that a group takes in, and whether it says all of such a task itself."""
    members = group.get("task")
    for one in members if isinstance(members, list) else []:
        if isinstance(one, str):
            yield one, False
        elif isinstance(one, dict) and "group" in one:
            yield from _members(one)
        elif isinstance(one, dict) and isinstance(one.get("task"), str):
            yield one["task"], {"dataset_path", "doc_to_text"} <= set(one)


def _folders(names: set[str]) -> dict[str, Path]:
    """The harness's folders that hold these tasks, by name; groups and tags have none."""
    import lm_eval.tasks

    root = Path(lm_eval.tasks.__file__).parent
    found: dict[str, Path] = {}
    for file in sorted(root.rglob("*.yaml")) if names else []:
        for name in NAME.findall(file.read_text(encoding="utf-8", errors="replace")):
            if name in names:
                found.setdefault(name, root / file.relative_to(root).parts[0])
    return found


def _check(said: str, name: str, known: list[str], mine: str = "") -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    raise RecipeError(
        f"{said} none of the harness's {len(known):,} suites"
        + (f"; did you mean {', '.join(near)}?" if near else "")
        + mine
    )
