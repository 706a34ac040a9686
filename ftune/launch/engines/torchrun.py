"""torchrun's elastic rendezvous over a list of hosts; over ssh from the first one, if asked."""

from __future__ import annotations

import math
from pathlib import Path

from ftune.errors import RecipeError
from ftune.launch.job import PORT, File, Job, folded, here, quoted
from ftune.recipe.base import Section

TOOL = "torchrun"
INSTALL = "it comes with torch: pip install torch"
ALIVE = 5.0  # seconds between two signs of life of a host: torch's own number
CHOOSES_HOSTS = False  # they are named on the command line


class Config(Section):
    """Nothing: hosts and rendezvous are options of the command line."""


def check(job: Job, config: Config) -> None:  # noqa: ARG001
    """Raises RecipeError where hosts or the place to meet are missing."""
    if not job.hosts and job.rendezvous is None:
        raise RecipeError(
            "--on torchrun: which hosts? Give --hosts first,second, or --nodes 2 with "
            "--rendezvous HOST:PORT of the first one"
        )
    if job.node_rank is not None and not 0 <= job.node_rank < job.nodes:
        raise RecipeError(f"--node-rank {job.node_rank}: hosts are 0 to {job.nodes - 1}")
    if job.ssh and not job.hosts:
        raise RecipeError("--ssh: which hosts? Give --hosts first,second")
    if job.ssh and job.node_rank is not None:
        raise RecipeError("--ssh starts all hosts from this one; leave --node-rank out")


def meeting(job: Job) -> str:
    """HOST:PORT at which all hosts meet."""
    return job.rendezvous or f"{job.hosts[0]}:{PORT}"


def of_host(job: Job, rank: int) -> list[str]:
    """The command of one host."""
    if not job.hosts:
        return job.on_a_host(meeting(job))
    named = ["--hosts", ",".join(job.hosts), "--node-rank", str(rank)]
    words = job.on_a_host(meeting(job))
    at = words.index("--nodes")
    return [*words[:at], *named, *words[at + 2 :]]


def arguments(job: Job, is_host: bool, address: str) -> list[str]:
    """What torchrun is told on a host; ``is_host``: whether the others meet there."""
    read = max(5, min(60, math.ceil(job.timeout / 10)))
    silent = max(3, math.ceil(job.timeout / ALIVE))
    grace = math.ceil(job.timeout if job.grace is None else job.grace) + 5
    return [
        *("--nnodes", str(job.nodes), "--nproc-per-node", str(job.processes)),
        *("--max-restarts", "0", "--shutdown-timeout", str(grace)),
        *("--rdzv-backend", "c10d", "--rdzv-id", job.label),
        *("--rdzv-endpoint", meeting(job), "--local-addr", address),
        "--rdzv-conf",
        f"is_host={int(is_host)},read_timeout={read},keep_alive_max_attempt={silent}",
        *("-m", "ftune", *job.train()),
    ]


def files(job: Job, config: Config) -> tuple[File, ...]:  # noqa: ARG001
    """A script for each host, to be started in the same folder of each."""
    folder = quoted([str(here())])
    ranks = range(len(job.hosts) or 1) if job.node_rank is None else [job.node_rank]
    made = []
    for rank in ranks:
        known = bool(job.hosts)
        address = job.hosts[rank] if known else "ADDRESS-OF-THIS-HOST"
        plain = folded(["torchrun", *arguments(job, known and rank == 0, address)], indent="#     ")
        made.append(
            File(
                f"host-{rank}.sh" if known else "each-host.sh",
                "#!/bin/bash\n"
                f"# On {job.hosts[rank] if known else 'each host'}. All hosts must see the same "
                "run directory.\n"
                f"cd {folder} || exit 2\n"
                f"exec {folded(of_host(job, rank))}\n"
                "# The same by torchrun alone, with its own messages and exit codes:\n"
                f"#   {plain}\n",
                runs=True,
            )
        )
    return tuple(made)


def run(job: Job, config: Config, folder: Path | None) -> int:  # noqa: ARG001
    """Trains on this host, and on the others if ``--ssh``; the exit code."""
    if job.ssh:
        from ftune.launch.over_ssh import run_all

        return run_all(job, [of_host(job, rank) for rank in range(job.nodes)])
    if job.hosts and job.node_rank is None:
        raise RecipeError(
            "--run: on this host alone, or on all of them? Give --node-rank N for this one, "
            "counted from 0 in --hosts, or --ssh to start them all from here"
        )
    from ftune.launch.agent import run_here

    return run_here(job, meeting(job), arguments)
