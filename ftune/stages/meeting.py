"""Whether processes that are to train together have the same recipe and see the same folder."""

from __future__ import annotations

import hashlib
import socket
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ftune.errors import RunError
from ftune.recipe.resolved import to_yaml
from ftune.recipe.schema import Recipe
from ftune.run import atomic

# When they give up, and how often they look for signals, makes no other model.
FREE = ("timeout_seconds", "grace_seconds")


def same_place(recipe: Recipe, share: Callable[[Any], list[Any]], first: bool) -> None:
    """Returns where all processes have the recipe of the first, and find a file that it writes.

    ``share`` gives what each process says, in their order. Each has its own working folder, and
    its own file systems.

    Raises:
        RunError: some don't, the same in all processes; the message has their hosts.
    """
    folder = Path(recipe.runs_dir)
    mark = folder / f".part-{uuid.uuid4().hex}.meeting"
    trouble = None
    if first:
        try:
            with atomic.disk_errors(mark):
                folder.mkdir(parents=True, exist_ok=True)
                mark.touch()
        except RunError as error:
            trouble = str(error)
    try:
        name, trouble = share((mark.name, trouble))[0]
        if trouble:
            raise RunError(trouble)
        answers = share((socket.gethostname(), (folder / name).exists(), _digest(recipe)))
    finally:
        if first:
            with suppress(OSError):
                mark.unlink(missing_ok=True)
    blind = [f"{rank} (on {host})" for rank, (host, sees, _) in enumerate(answers) if not sees]
    if blind:
        raise RunError(
            f"runs_dir {recipe.runs_dir}: process {', '.join(blind)} does not see there what "
            f"process 0 (on {answers[0][0]}) writes; put runs_dir on a file system that all hosts "
            "share, and start the command in the same folder of each"
        )
    others = [
        f"{rank} (on {host})"
        for rank, (host, _, digest) in enumerate(answers)
        if digest != answers[0][2]
    ]
    if others:
        raise RunError(
            f"process {', '.join(others)} has another recipe than process 0 (on {answers[0][0]}); "
            "copy the recipe to all hosts, and give all of them the same -o"
        )


def _digest(recipe: Recipe) -> str:
    lines = to_yaml(recipe).splitlines()
    kept = [line for line in lines if not line.strip().startswith(FREE)]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()
