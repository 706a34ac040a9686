"""``ftune launch``: a training on several machines, by an engine that is there already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftune.cli.options import Json, Overrides, RecipeFile, RemoteCode
from ftune.registry import ENGINES

if TYPE_CHECKING:
    from ftune.launch.job import Job


def launch(
    recipe: RecipeFile,
    on: Annotated[
        str, typer.Option("--on", metavar="ENGINE", help=f"One of {', '.join(ENGINES.names())}.")
    ],
    hosts: Annotated[
        str | None, typer.Option(metavar="A,B", help="torchrun: names or addresses of all hosts.")
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="How many machines.")] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes on each machine, one for a GPU.")
    ] = 1,
    rendezvous: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="torchrun: where hosts meet [first host:29400]."),
    ] = None,
    node_rank: Annotated[
        int | None, typer.Option(help="torchrun: which of --hosts this one is, from 0.")
    ] = None,
    ssh: Annotated[
        bool, typer.Option("--ssh", help="torchrun: with --run, start the other hosts over ssh.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An engine's option, as time=1:00:00."),
    ] = None,
    write: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the files here.")] = None,
    run: Annotated[
        bool, typer.Option("--run", help="Start it; without, the files are only shown.")
    ] = False,
    override: Overrides = None,
    trust_remote_code: RemoteCode = False,
    json: Json = False,
) -> None:
    """Train on several machines: show, write or run what torchrun, SLURM and others need.

    Without --run nothing is started. All machines must see the same run directory.
    """
    from ftune.launch import planning
    from ftune.recipe.reading import load_recipe

    loaded = load_recipe(recipe, override or ()).alone()
    engine, config = planning.engine(on, settings or ())
    more = [part for key in override or () for part in ("-o", key)]
    asked = planning.Asked(
        hosts, nodes, processes, rendezvous, node_rank, ssh,
        (*more, *["--trust-remote-code"] * trust_remote_code),
    )  # fmt: skip
    job = planning.job(loaded.recipe, str(recipe), on, engine, asked)
    engine.check(job, config)
    files = planning.without_secrets(engine.files(job, config))
    if run:
        planning.ready(on, engine, job)
    folder = write or (planning.folder(job) if run and engine.CHOOSES_HOSTS else None)
    if folder is not None:
        planning.write(folder, files)
    _show(job, files, folder, run, json)
    if run:
        raise typer.Exit(engine.run(job, config, folder))


def _show(job: Job, files: Any, folder: Path | None, run: bool, json: bool) -> None:
    """The files on the screen, or where they were written."""
    if json:
        from json import dumps

        told = {"name": job.label, "nodes": job.nodes, "processes": job.processes, "run": run}
        told["folder"] = None if folder is None else str(folder)
        told["files"] = {file.name: file.text for file in files}
        typer.echo(dumps(told, indent=2), err=run)
        return
    for file in files:
        if folder is not None:
            typer.echo(f"wrote {folder / file.name}", err=run)
        elif not run:
            typer.echo(f"# ---- {file.name}\n{file.text}")
    if not run:
        typer.echo("nothing was started; --run starts it", err=True)
