"""Where each key and value of a recipe stands, and problems that point there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

KeyPath = tuple[str | int, ...]
Mark = tuple[int, int]  # line and column, both from 1


@dataclass(frozen=True)
class Problem:
    """What is wrong with the value at ``path`` (or, ``at_key``, with the key) and what to do."""

    path: KeyPath
    message: str
    at_key: bool = False
    missing: bool = False  # the key should be there and is not
    points: str = ""  # the dotted key that the message says to write instead
    more: int = 0  # problems that are only counted, and have no message


def dotted(path: KeyPath) -> str:
    """A path as people write it: ``data.train[0].path``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


@dataclass
class Places:
    """Positions in ``file`` of keys and values; ``labels`` are paths set on the command line."""

    file: str
    keys: dict[KeyPath, Mark] = field(default_factory=dict)
    values: dict[KeyPath, Mark] = field(default_factory=dict)
    labels: dict[KeyPath, str] = field(default_factory=dict)

    def override(self, path: KeyPath, label: str) -> None:
        """Notes that all at ``path`` and below it now comes from the command line."""
        for known in (self.keys, self.values, self.labels):
            for old in [p for p in known if p[: len(path)] == path]:
                del known[old]
        self.labels[path] = label

    def find(self, path: KeyPath, at_key: bool = False) -> tuple[tuple[int, int, int], str]:
        """Sort key and text of the place of ``path``, or of the nearest place above it."""
        for length in range(len(path), -1, -1):
            part = path[:length]
            if part in self.labels:
                return (1, list(self.labels).index(part), 0), self.labels[part]
            # A value that isn't there itself is looked for in its section: point at that key.
            first = self.keys if at_key or length < len(path) else self.values
            mark = first.get(part) or self.values.get(part)
            if mark:
                return (0, *mark), f"{self.file}:{mark[0]}:{mark[1]}"
        return (0, 1, 1), f"{self.file}:1:1"

    def line(self, problem: Problem) -> str:
        """The problem as one line: place, what is wrong, what to do."""
        place, message = self.find(problem.path, problem.at_key)[1], problem.message
        if place == f"-o {dotted(problem.path)}":  # the place says the key already
            name = dotted(problem.path)
            message = message.removeprefix(f"{name} ").removeprefix(f"{name}: ")
        return f"{place}: {message}"


def unread_key(path: KeyPath, value: Any, default: Any, why: str) -> Iterator[Problem]:
    """A problem if the value differs from the default, though nothing reads it."""
    if value != default:
        yield Problem(path, f"{dotted(path)} has no effect {why}")
