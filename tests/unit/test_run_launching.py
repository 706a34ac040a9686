"""Several processes under one: what is told of them, and which exit code is theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ftune.errors import PeerLostError, RunError
from ftune.run import launching

PROGRAM = """#!/bin/sh
%s
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a shell script in the place of ftune; $RANK tells which process it is."""

    def put(script: str) -> None:
        file = tmp_path / "python"
        file.write_text(PROGRAM % script, encoding="utf-8")
        file.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(file))

    monkeypatch.setattr(launching, "PATIENCE", 0.5)
    return put


def failure(count: int = 3) -> RunError:
    with pytest.raises(RunError) as caught:
        launching.launch(["train"], count)
    return caught.value


def test_they_know_each_other(program, tmp_path):
    program(f'echo "$RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR $3" > {tmp_path}/$RANK')
    assert launching.launch(["train"], 2) == 0
    said = [(tmp_path / str(rank)).read_text() for rank in range(2)]
    assert said == ["0 0 2 127.0.0.1 train\n", "1 1 2 127.0.0.1 train\n"]


def test_the_first_one_says_why_by_itself(program):
    program("exit 4")
    assert launching.launch([], 2) == 4


def test_another_one_is_named_with_its_words(program):
    program(f'[ $RANK = 2 ] && echo "no such tensor" >&2 && exit 4; exit {PeerLostError.exit_code}')
    error = failure()
    assert "process 2 of 3" in str(error)
    assert "exit code 4" in str(error) and "  no such tensor" in str(error)
    assert error.exit_code == 4


def test_a_killed_one_is_named(program):
    program(f"[ $RANK = 0 ] && kill -9 $$; sleep 0.3; exit {PeerLostError.exit_code}")
    assert "process 0 of 3" in str(failure()) and "SIGKILL" in str(failure())


def test_one_that_hangs_is_named_and_killed(program):
    program(f"[ $RANK = 1 ] && kill -STOP $$; exit {PeerLostError.exit_code}")
    error = failure()
    assert "process 1 of 3" in str(error) and "did not answer" in str(error)
    assert error.exit_code == 5


def test_those_left_are_killed_though_they_go_on(program):
    program("[ $RANK = 1 ] && exit 3; exec sleep 60")
    start = time.monotonic()
    error = failure()
    assert "process 1 of 3" in str(error) and error.exit_code == 3
    assert time.monotonic() - start < 30


def test_the_first_one_has_all(program):
    """It is at the end, and another one does not end."""
    program("[ $RANK = 0 ] && exit 0; exec sleep 60")
    assert launching.launch([], 2) == 0


def test_asked_before_they_listen(program):
    program("kill -TERM $$")
    assert launching.launch([], 2) == 143


def test_a_signal_reaches_all(program, tmp_path):
    trap = f"trap 'touch {tmp_path}/$RANK.stopped; exit 143' TERM"
    program(f"{trap}; touch {tmp_path}/$RANK.ready; while :; do sleep 0.05; done")

    def ask() -> None:
        while len(list(tmp_path.glob("*.ready"))) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    assert launching.launch([], 2) == 143
    asking.join()
    assert len(list(tmp_path.glob("*.stopped"))) == 2


def test_they_stop_when_the_launcher_is_gone():
    code = (
        "import signal, sys, time; from ftune.run import parent;"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143));"
        "parent.watch(); print('on', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "FTUNE_LAUNCHED": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) as child:
        assert child.stdout.readline() == b"on\n"
        child.stdin.close()
        assert child.wait(timeout=30) == 143
