"""Running ftune's command line, and reading what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

# One thread: more only get in each other's way on models this small.
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
TIMINGS = {"seconds", "tokens_per_second", "memory_bytes", "eval_seconds"}


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What a command with --json printed."""
        return json.loads(self.out)


@dataclass
class Started:
    """A command under way."""

    pid: int
    out: Path
    err: Path
    ask: Callable[[dict[str, Any]], str] = field(repr=False)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal; the process can't be gone, since nobody waited for it yet."""
        os.kill(self.pid, number)

    @property
    def ended(self) -> bool:
        """Whether it is at its end; ``wait`` tells how."""
        return self.ask({"ended": self.pid}) == "1\n"

    def wait(self) -> Done:
        """Waits for its end."""
        code = int(self.ask({"wait": self.pid}))
        return Done(code, self.out.read_text(), self.err.read_text())


class Warm:
    """ftune's command line in forks of a process that has imported everything (see warm.py)."""

    def __init__(self, home: Path) -> None:
        self._home, self._count = home, 0
        self._server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("warm.py")],
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "ready\n"

    def _ask(self, request: dict[str, Any]) -> str:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return self._server.stdout.readline()

    def start(self, folder: Path, *arguments: object) -> Started:
        """Begins ``ftune ARGUMENTS`` in ``folder``."""
        self._count += 1
        out, err = (self._home / f"{self._count}.{stream}" for stream in ("out", "err"))
        request = {"start": [str(a) for a in arguments], "cwd": str(folder)}
        pid = int(self._ask({**request, "out": str(out), "err": str(err)}))
        return Started(pid, out, err, self._ask)

    def run(self, folder: Path, *arguments: object, code: int = 0) -> Done:
        """Runs ``ftune ARGUMENTS`` in ``folder``, which must end with ``code``."""
        return checked(self.start(folder, *arguments).wait(), code)

    def close(self) -> None:
        """Ends the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(timeout=30)


def command(folder: Path, *arguments: object, code: int = 0) -> Done:
    """The same through the real command, in a process that starts from nothing."""
    done = subprocess.run(
        [Path(sys.executable).with_name("ftune"), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT},
        text=True,
        capture_output=True,
        timeout=600,
        check=False,
    )
    return checked(Done(done.returncode, done.stdout, done.stderr), code)


def checked(done: Done, code: int) -> Done:
    """``done``, if it ended with ``code``."""
    if done.code != code:
        pytest.fail(f"exit code {done.code} instead of {code}\n{done.out}\n{done.err}")
    return done


def read(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def curve(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl, less what no two runs have alike."""
    lines = (run / "train/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(x).items() if k not in TIMINGS} for x in lines]


def scores(report: dict[str, Any], which: str = "tuned") -> dict[str, float]:
    """Metrics of a report by name."""
    return {m["name"]: m[which] for m in report["metrics"] if m[which] is not None}


def files(folder: Path) -> set[str]:
    """Every file below ``folder``."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


@dataclass(frozen=True)
class Trained:
    """A finished run, and the files that it had when it was finished."""

    folder: Path
    files: frozenset[str]
    done: Done

    @property
    def report(self) -> dict[str, Any]:
        """report.json."""
        return read(self.folder / "report.json")
