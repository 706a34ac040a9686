"""A stream that can't be written any more ends no command, and is told."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from ftune.run.secrets import Redacting, without_secrets

LINUX = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
FTUNE = (sys.executable, "-m", "ftune")


@LINUX
def test_goes_on_without_it():
    with Path("/dev/full").open("w") as full:
        stream = Redacting(full)
        for _ in range(3):
            assert stream.write("word\n") == 5
            stream.flush()
        assert stream.lost is not None and "space" in str(stream.lost)


def test_nothing_is_lost_of_what_can_be_written():
    held = io.StringIO()
    stream = without_secrets(held)
    print("https://user:pass@host/x", file=stream, flush=True)
    assert held.getvalue() == "https://REDACTED@host/x\n"
    assert getattr(stream, "lost") is None  # noqa: B009 (no attribute of TextIO)


@LINUX
def test_the_command_ends_with_5_and_says_so():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*FTUNE, "schema"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 5
    assert "could not all be written (No space left" in done.stderr
    assert "Traceback" not in done.stderr and "bug" not in done.stderr


def test_streams_that_the_caller_closed(tmp_path):
    line = f'"{sys.executable}" -m ftune schema --output s.json <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert (tmp_path / "s.json").read_text().startswith("{")
