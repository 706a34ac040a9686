"""Fixtures that all tests share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says more of the machine than of the code.
settings.register_profile("ftune", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ftune")

# Where tests are started in the background, or under nohup, signals are ignored: inherited too.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real models and data, kept beside the checkout or where FTUNE_SHARED says."""
    folder = Path(os.environ.get("FTUNE_SHARED", ROOT.parent / "shared"))
    if not (folder / "models").is_dir():
        pytest.skip(
            f"real models and data are not here ({folder}); set FTUNE_SHARED to their folder"
        )
    return folder


@pytest.fixture
def ftune(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in a process of its own, in ``tmp_path``, without a network."""

    def run(*arguments: object, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "ftune", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
            text=True,
            capture_output=True,
            timeout=600,
            check=False,
        )
        if code is not None and done.returncode != code:
            pytest.fail(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    return run
