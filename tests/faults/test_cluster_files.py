"""The files for clusters do what they say, with stand-ins for ftune and SLURM."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

CLUSTER = Path(__file__).parents[2] / "recipes" / "cluster"
# Takes a signal as ftune does: finishes, then ends with 143.
FTUNE = """#!/bin/bash
trap 'sleep 0.3; echo saved; exit 143' TERM
echo "began $*"
[ "$2" = done.yaml ] && exit 0
[ "$2" = bad.yaml ] && exit 2
while :; do sleep 0.05; done
"""
SCONTROL = '#!/bin/bash\necho "scontrol $*"\n'


def start(folder: Path, recipe: str) -> subprocess.Popen[str]:
    for name, text in (("ftune", FTUNE), ("scontrol", SCONTROL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return subprocess.Popen(
        ["bash", CLUSTER / "slurm.sbatch", recipe],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_slurm_puts_a_stopped_run_back_after_it_has_saved(tmp_path):
    job = start(tmp_path, "recipe.yaml")
    assert job.stdout is not None
    assert job.stdout.readline() == "began train recipe.yaml\n"
    time.sleep(0.1)  # until the shell waits
    job.send_signal(signal.SIGTERM)
    said, _ = job.communicate(timeout=20)
    assert said.split("\n")[:2] == ["saved", "scontrol requeue 7"]
    assert job.returncode == 143


@pytest.mark.parametrize(("recipe", "code"), [("done.yaml", 0), ("bad.yaml", 2)])
def test_slurm_leaves_every_other_end_alone(recipe, code, tmp_path):
    job = start(tmp_path, recipe)
    said, _ = job.communicate(timeout=20)
    assert "requeue" not in said
    assert job.returncode == code


def test_kubernetes_tries_again_only_what_may_end_otherwise():
    job = yaml.safe_load((CLUSTER / "kubernetes.yaml").read_text())["spec"]
    rules = job["podFailurePolicy"]["rules"]
    codes = next(r["onExitCodes"] for r in rules if r["action"] == "FailJob")
    assert codes["operator"] == "In" and set(codes["values"]) == {2, 3, 4}
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # what podFailurePolicy asks for
    assert codes["containerName"] == pod["containers"][0]["name"]
    assert pod["containers"][0]["command"][0] == "ftune"  # no shell that would keep the signal
