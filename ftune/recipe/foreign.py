"""What is written here instead of a name from another tool's recipe."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ftune.recipe.foreign_names import ROWS, THERE, TOOLS
from ftune.recipe.places import KeyPath


@dataclass(frozen=True)
class Foreign:
    """What a foreign name is here (dotted, or empty), and how to say it."""

    here: str
    text: str


@cache
def table() -> dict[str, tuple[str, str, str]]:
    """Name -> (key here, tools, what else to say)."""
    found: dict[str, tuple[str, str, str]] = {}
    head = ("", "", "")
    for line in ROWS.strip().splitlines():
        if line.startswith(" "):
            found.update(dict.fromkeys(line.split(), head))
        else:
            front, _, note = line.partition(" | ")
            here, tools = front.split()
            told = _joined([TOOLS[t] for t in tools.split(",")])
            head = ("" if here == "-" else here, told, note)
    return found


def _joined(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def foreign_name(path: KeyPath) -> Foreign | None:
    """What to write instead of the key at ``path``, if another tool calls something so."""
    names = [s for s in path if isinstance(s, str)]
    if names[:2] in (["data", "eval"], ["data", "test"]) and len(names) > 2:
        names[1] = "train"
    there = THERE.get(".".join(names))
    if there:
        return Foreign(there.replace("[0]", ""), f"write {there}")
    row = table().get(names[-1])
    if row is None:
        return None
    here, tools, note = row
    if not here:
        return Foreign("", f"it is from {tools}: {note}")
    shown = here.replace("data.train.", "data.train[0].")
    more = f" ({note})" if note else ""
    return Foreign(here, f"write {shown}, which is {names[-1]} in {tools}{more}")
