"""What is to be started, and on how many machines: all that an engine may write down."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PORT = 29400  # torchrun's own default for a rendezvous
GRACE = 100  # seconds, where the recipe says none and the engine kills after some
MARGIN = 20  # seconds between the end of the grace and SIGKILL


@dataclass(frozen=True)
class File:
    """A file that an engine asks for; ``runs`` says whether it is a script to start."""

    name: str
    text: str
    runs: bool = False


@dataclass(frozen=True)
class Job:
    """One training on ``nodes`` machines with ``processes`` processes each."""

    name: str  # the recipe's
    recipe: str  # its path as it was typed: the same on every machine
    arguments: tuple[str, ...]  # of ftune train, behind the recipe
    nodes: int
    processes: int = 1
    hosts: tuple[str, ...] = ()  # their names, where the engine does not choose them
    rendezvous: str | None = None  # host:port that all of them reach
    node_rank: int | None = None  # which of the hosts this is
    ssh: bool = False  # start the other hosts from this one
    grace: float | None = None  # train.grace_seconds
    timeout: float = 600.0  # distributed.timeout_seconds

    @property
    def label(self) -> str:
        """The name in letters that every engine takes: lower case, digits and hyphens."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:40].rstrip("-")
        return plain if plain[:1].isalpha() else f"ftune-{plain}".rstrip("-")

    @property
    def notice(self) -> int:
        """Seconds before SIGKILL at which an engine is to send SIGTERM."""
        return math.ceil(GRACE if self.grace is None else self.grace) + MARGIN

    def train(self) -> list[str]:
        """Arguments of ``ftune train`` in each process."""
        return ["train", self.recipe, *self.arguments]

    def on_a_host(self, rendezvous: str, bounded: bool = False) -> list[str]:
        """The command that every host runs; ``rendezvous`` may be a shell's expression.

        ``bounded``: the engine kills some time after its SIGTERM, so there must be a grace.
        """
        more = list(self.arguments)
        if bounded and self.grace is None:
            more += ["-o", f"train.grace_seconds={GRACE}"]
        counts = ["--nodes", str(self.nodes), "--processes", str(self.processes)]
        where = ["--on", "torchrun", *counts, "--rendezvous", rendezvous, "--run"]
        return ["ftune", "launch", self.recipe, *where, *more]


def quoted(words: Sequence[str], as_is: Sequence[str] = ()) -> str:
    """The words as a shell reads them; those of ``as_is`` stand in double quotes, expanded."""
    return " ".join(f'"{w}"' if w in as_is else shlex.quote(w) for w in words)


def folded(words: Sequence[str], as_is: Sequence[str] = (), indent: str = "    ") -> str:
    """The same over several lines, one for each option."""
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("-") and len(lines[-1]) > 1:
            lines.append([])
        lines[-1].append(word)
    return f" \\\n{indent}".join(quoted(line, as_is) for line in lines)


def here() -> Path:
    """The working folder, which must be the same on all hosts."""
    return Path.cwd()
