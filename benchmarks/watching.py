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
    tokens_per_cpu_second: float  # by the processor's time, which other programs take less from
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
    first, count = None, 0
    log = folder / "log.txt"
    with log.open("wb") as handle:
        child = subprocess.Popen(
            command,
            stdout=handle,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **variables},
            cwd=folder,
        )
        cpu: list[float] = []  # the child's when each number of lines was first seen
        while True:
            count = len(_lines(folder, steps)) or count
            if count and first is None:
                first = time.perf_counter() - begun
            if count > len(cpu):
                cpu += [_cpu(child.pid)] * (count - len(cpu))
            done, status, usage = os.wait4(child.pid, os.WNOHANG)
            if done:
                break
            time.sleep(0.02)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")
    lines = _lines(folder, steps)
    tokens, seconds = (
        _sum([line[key] for line in lines], running) for key in ("tokens", "seconds")
    )
    return Seen(
        tokens_per_second=tokens / seconds,
        tokens_per_cpu_second=tokens / (cpu[len(lines) - 1] - cpu[WARM - 1]),
        peak_bytes=usage.ru_maxrss * 1024,
        first_step_seconds=first or 0.0,
        seconds=time.perf_counter() - begun,
    )


def _cpu(process: int) -> float:
    """Seconds of processor time that a running process has taken, all its threads together."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
