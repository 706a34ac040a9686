"""Runs a side in a process of its own, and watches its clock and its memory from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WARM = 2  # first steps that are left out of the rate


@dataclass(frozen=True)
class Seen:
    """One run of one side: tokens are without padding, memory is resident bytes."""

    tokens_per_second: float
    peak_bytes: int
    first_step_seconds: float  # from the command to the end of the first step
    seconds: float


def watch(
    command: Sequence[str],
    folder: Path,
    steps: str,
    variables: Mapping[str, str],
    running: bool = False,
) -> Seen:
    """Runs a command in ``folder`` that appends a line of JSON for each step to ``steps``.

    Lines hold ``tokens`` and ``seconds``, of that step or, if ``running``, of all so far. ``steps``
    may be a pattern under ``folder``, for a file whose place the command chooses.
    """
    begun = time.perf_counter()
    first = None
    log = folder / "log.txt"
    with log.open("wb") as handle:
        child = subprocess.Popen(
            command,
            stdout=handle,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **variables},
            cwd=folder,
        )
        while True:
            done, status, usage = os.wait4(child.pid, os.WNOHANG)
            if first is None and _lines(folder, steps):
                first = time.perf_counter() - begun
            if done:
                break
            time.sleep(0.02 if first is None else 0.2)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")
    lines = _lines(folder, steps)
    tokens, seconds = (_sum([line[key] for line in lines], running) for key in ("tokens", "seconds"))
    return Seen(
        tokens_per_second=tokens / seconds,
        peak_bytes=usage.ru_maxrss * 1024,
        first_step_seconds=first or 0.0,
        seconds=time.perf_counter() - begun,
    )


def _lines(folder: Path, steps: str) -> list[dict[str, Any]]:
    path = next(folder.glob(steps), None)
    if path is None:
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _sum(numbers: list[float], running: bool) -> float:
    return numbers[-1] - numbers[WARM - 1] if running else sum(numbers[WARM:])


def answer(side: str, *arguments: str, variables: Mapping[str, str] | None = None) -> Any:
    """What a side prints as its last line of JSON."""
    done = subprocess.run(
        [sys.executable, str(HERE / "sides" / f"{side}.py"), *arguments],
        env={**os.environ, "HF_HUB_OFFLINE": "1", **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}")
    return json.loads(done.stdout.splitlines()[-1])
