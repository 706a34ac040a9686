"""A SLURM batch file: requeued when it was stopped, warned before its time limit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from ftune.launch.job import GRACE, File, Job, folded
from ftune.launch.tools import call
from ftune.recipe.base import Section

TOOL = "sbatch"
INSTALL = "SLURM's client is part of a cluster; run the same command on its login node"
CHOOSES_HOSTS = True


class Config(Section):
    """What a cluster wants to know besides."""

    time: Annotated[str, Field(pattern=r"^[0-9:-]+$")] = "04:00:00"
    """Time limit of one start; the run is requeued and goes on until it is done."""
    gpus: Annotated[int, Field(ge=0)] | None = None
    """GPUs of each node; by default one for each process, 0 for none."""
    cpus: Annotated[int, Field(ge=1)] = 8
    """Cores of each process."""
    partition: Annotated[str, Field(pattern=r"^[\w,.-]*$")] = ""
    """The partition; by default the cluster's."""
    account: Annotated[str, Field(pattern=r"^[\w.-]*$")] = ""
    """The account that pays."""


def check(job: Job, config: Config) -> None:
    """There is nothing that could be missing."""


def files(job: Job, config: Config) -> tuple[File, ...]:
    """The batch file."""
    gpus = job.processes if config.gpus is None else config.gpus
    asked = [
        f"--job-name={job.label}",
        f"--nodes={job.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={config.cpus * job.processes}",
        *([f"--gpus-per-node={gpus}"] if gpus else []),
        *([f"--partition={config.partition}"] if config.partition else []),
        *([f"--account={config.account}"] if config.account else []),
        f"--time={config.time}",
        f"--output={job.label}-%j.log",
        f"--signal=B:TERM@{job.notice}",
        "--requeue",
        "--open-mode=append",
    ]
    meet = "$head:$port"
    command = folded(["srun", "--kill-on-bad-exit=0", *job.on_a_host(meet, bounded=True)], [meet])
    header = "\n".join(f"#SBATCH {option}" for option in asked)
    grace = GRACE if job.grace is None else job.grace
    return (File(f"{job.label}.sbatch", TEXT.format(header, job.notice, grace, command)),)


TEXT = """#!/bin/bash
{0}
# SIGTERM comes to this script alone (B:) {1} s before the time limit, and is handed to all nodes;
# the step under way is saved within train.grace_seconds ({2:g}).

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((29400 + SLURM_JOB_ID % 1000)) # two jobs may share a node

{3} &
child=$!
trap 'scancel --signal=TERM "$SLURM_JOB_ID"' TERM # to the processes of srun, not to this script
wait "$child"
code=$?
# A signal ends `wait` with 143 before the child has ended; the child's own code is still to come.
while [ "$code" -gt 128 ] && kill -0 "$child" 2>/dev/null; do
    wait "$child"
    code=$?
done

# 143: stopped by SIGTERM, and saved. Anything else is the run's own end.
if [ "$code" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def run(job: Job, config: Config, folder: Path | None) -> int:
    """Hands the batch file to SLURM; its exit code."""
    [file] = files(job, config)
    return call(TOOL, str((folder or Path()) / file.name))
