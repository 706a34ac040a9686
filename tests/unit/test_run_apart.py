"""Work in a child process: what it answers, and how its end is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from ftune.run.apart import Asked, Ended, handing_on, in_child


def test_it_answers_and_leaves_nothing_here() -> None:
    kept: list[int] = []

    def work() -> tuple[Any, int]:
        kept.append(os.getpid())
        return {"words": "å" * 10_000, "pid": os.getpid()}, 3

    ended = in_child(work, Asked())
    assert ended.code == 3
    assert ended.answer["words"] == "å" * 10_000
    assert ended.answer["pid"] != os.getpid() and not kept


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, -15)])
def test_one_that_is_ended_answers_nothing(number: int, code: int) -> None:
    def work() -> tuple[Any, int]:
        os.kill(os.getpid(), number)
        time.sleep(60)
        return None, 0

    assert in_child(work, Asked()) == Ended(None, code)


def test_one_that_breaks_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> tuple[Any, int]:
        raise ValueError("broken")

    assert in_child(work, Asked()) == Ended(None, 1)
    assert "ValueError: broken" in capfd.readouterr().err


def test_a_signal_is_handed_on() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def work() -> tuple[Any, int]:
        told: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
        os.kill(os.getppid(), signal.SIGTERM)
        while not told:
            time.sleep(0.01)
        return {"told": told}, 0

    with handing_on() as asked:
        ended = in_child(work, asked)
    assert ended == Ended({"told": [15]}, 0)
    assert asked.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


PARENT = """
    import os, sys, time
    from ftune.run.apart import handing_on, in_child

    def work():
        print(os.getpid(), flush=True)
        time.sleep(60)
        return None, 0

    with handing_on() as asked:
        in_child(work, asked)
"""


def test_a_killed_parent_takes_it_along(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.read()  # ends when the child, which holds the other end, is gone
    with pytest.raises(ProcessLookupError):
        for _ in range(500):  # nobody's child may stay for a moment until it is collected
            os.kill(child, 0)
            if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
                raise ProcessLookupError
            time.sleep(0.01)
