"""A SkyPilot task: machines of a cloud or of Kubernetes, with a volume that all of them share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ftune.errors import RecipeError
from ftune.launch.job import PORT, File, Job, folded
from ftune.launch.tools import call
from ftune.recipe.base import Section

TOOL = "sky"
INSTALL = "pip install 'skypilot[aws]', or the name of your own cloud in its place"
CHOOSES_HOSTS = True
MOUNT = "/ftune"


class Config(Section):
    """The machines, and what they hold."""

    accelerators: str = ""
    """What each machine has, such as H100:8; none for a CPU."""
    infra: str = ""
    """Where, such as aws/us-east-1 or k8s; by default the cheapest place."""
    spot: bool = False
    """Machines that may be taken away."""
    volume: Annotated[str, Field(pattern=r"^[\w.-]*$")] = ""
    """SkyPilot's name of a volume for the runs; more than one node needs it."""
    setup: str = "pip install ftune"
    """How ftune comes onto a machine."""
    secrets: Annotated[str, Field(pattern=r"^[\w, ]*$")] = ""
    """Names of variables that are handed over from your shell, such as HF_TOKEN."""


def check(job: Job, config: Config) -> None:
    """Raises RecipeError where several machines would have no run directory in common."""
    if job.nodes > 1 and not config.volume:
        raise RecipeError(
            "--on skypilot: where do all nodes see the same runs? Give --set volume=NAME, made by "
            "`sky volumes apply`"
        )


def files(job: Job, config: Config) -> tuple[File, ...]:
    """The task."""
    import yaml

    resources: dict[str, Any] = {}
    if config.accelerators:
        resources["accelerators"] = config.accelerators
    if config.infra:
        resources["infra"] = config.infra
    if config.spot:
        resources["use_spot"] = True
    made: dict[str, Any] = {"name": job.label, "workdir": ".", "num_nodes": job.nodes}
    if resources:
        made["resources"] = resources
    meet = "$head:" + str(PORT)
    command = job.on_a_host(meet, bounded=True)
    if config.volume:
        made["volumes"] = {MOUNT: config.volume}
        if not any(each.startswith("runs_dir=") for each in job.arguments):
            command += ["-o", f"runs_dir={MOUNT}/runs"]
    if _names(config):
        made["secrets"] = dict.fromkeys(_names(config))
    text = yaml.safe_dump(made, sort_keys=False, width=100)
    head = 'head=$(echo "$SKYPILOT_NODE_IPS" | head -n 1)\n'
    text += _block("setup", config.setup) + _block("run", head + folded(command, [meet], "  "))
    return (File(f"{job.label}.yaml", text),)


def _block(key: str, text: str) -> str:
    """A key of the task with a script, as it was written."""
    return f"{key}: |\n" + "".join(f"  {line}\n" for line in text.splitlines())


def _names(config: Config) -> list[str]:
    return [name.strip() for name in config.secrets.split(",") if name.strip()]


def run(job: Job, config: Config, folder: Path | None) -> int:
    """Starts the machines and the task; SkyPilot's exit code."""
    [file] = files(job, config)
    given = [part for name in _names(config) for part in ("--secret", name)]
    return call(TOOL, "launch", "--yes", *given, str((folder or Path()) / file.name))
