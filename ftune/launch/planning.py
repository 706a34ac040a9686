"""From the command line to a job and its files: everything is checked before one is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ftune.errors import RecipeError
from ftune.launch import network, tools
from ftune.launch.job import File, Job
from ftune.recipe.schema import Recipe
from ftune.registry import ENGINES
from ftune.run import atomic
from ftune.run.secrets import redacted


@dataclasses.dataclass(frozen=True)
class Asked:
    """What was typed about machines."""

    hosts: str | None = None
    nodes: int | None = None
    processes: int = 1
    rendezvous: str | None = None
    node_rank: int | None = None
    ssh: bool = False
    arguments: tuple[str, ...] = ()


def engine(name: str, settings: Sequence[str]) -> tuple[Any, Any]:
    """The engine's module and its Config, made of ``key=value``.

    Raises:
        RecipeError: there is no such engine or option, or a value is wrong.
    """
    from pydantic import ValidationError

    from ftune.recipe.scalars import plain_scalar

    module = ENGINES.load(name)
    fields = module.Config.model_fields
    given: dict[str, Any] = {}
    problems = []
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or key not in fields:
            there = ", ".join(sorted(fields)) or "none"
            problems.append(f"--set {text}: is not KEY=VALUE of {name}; its keys are: {there}")
        elif fields[key].annotation is str:
            given[key] = value
        else:
            given[key] = plain_scalar(value)
    if problems:
        raise RecipeError(*problems)
    try:
        return module, module.Config(**given)
    except ValidationError as error:
        raise RecipeError(
            *(f"--set {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        ) from None


def job(recipe: Recipe, path: str, name: str, module: Any, asked: Asked) -> Job:
    """What is to be started.

    Raises:
        RecipeError: the options contradict each other, or don't belong to this engine.
    """
    hosts = tuple(h.strip() for h in (asked.hosts or "").split(",") if h.strip())
    if module.CHOOSES_HOSTS:
        alien = {
            "--hosts": asked.hosts,
            "--rendezvous": asked.rendezvous,
            "--node-rank": asked.node_rank,
            "--ssh": asked.ssh or None,
        }
        given = [option for option, value in alien.items() if value is not None]
        if given:
            raise RecipeError(
                f"{', '.join(given)}: {name} chooses the hosts itself; give --nodes, or take "
                "--on torchrun"
            )
    if asked.hosts is not None and not hosts:
        raise RecipeError("--hosts: names none; write --hosts first,second")
    if len(set(hosts)) < len(hosts):
        raise RecipeError(f"--hosts {asked.hosts}: names a host twice; --processes starts several")
    if hosts and asked.nodes not in (None, len(hosts)):
        raise RecipeError(f"--nodes {asked.nodes}: but --hosts names {len(hosts)}; leave one out")
    if asked.rendezvous is not None:
        network.split(asked.rendezvous)
    return Job(
        name=recipe.name,
        recipe=path,
        arguments=asked.arguments,
        nodes=asked.nodes or len(hosts) or 1,
        processes=asked.processes,
        hosts=hosts,
        rendezvous=asked.rendezvous,
        node_rank=asked.node_rank,
        ssh=asked.ssh,
        grace=recipe.train.grace_seconds,
        timeout=recipe.distributed.timeout_seconds,
    )


def without_secrets(files: Sequence[File]) -> Sequence[File]:
    """The files, which hold no secret.

    Raises:
        RecipeError: one would; a file with the secret taken out would not work.
    """
    for file in files:
        for number, line in enumerate(file.text.splitlines(), 1):
            if redacted(line) != line:
                raise RecipeError(
                    redacted(f"{file.name}:{number}: would hold a secret ({line.strip()}); give ")
                    + "it to the machines as a variable of the environment, not on the command line"
                )
    return files


def ready(name: str, module: Any, job: Job) -> None:
    """Raises RecipeError where a program that is to be run is not there."""
    if name != "torchrun":
        tools.need(module.TOOL, module.INSTALL)
    elif job.ssh:
        tools.need("ssh", "apt install openssh-client")


def folder(job: Job) -> Path:
    """Where files stand that are handed to an engine, if no other place is named."""
    return Path("launch") / job.label


def write(folder: Path, files: Sequence[File]) -> None:
    """Writes the files.

    Raises:
        RunError: they can't be written.
    """
    with atomic.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        atomic.write_text(folder / file.name, file.text)
        if file.runs:
            (folder / file.name).chmod(0o755)
