"""The Typer app: registers each verb, and turns errors into messages and exit codes."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, TextIO

import typer

from ftune import __version__, environment
from ftune.cli.data.app import data_app
from ftune.cli.doctor import doctor
from ftune.cli.evaluate import evaluate
from ftune.cli.generate import generate
from ftune.cli.init import init
from ftune.cli.inspect import inspect
from ftune.cli.judge import judge_app
from ftune.cli.launch import launch
from ftune.cli.merge import merge
from ftune.cli.rehearse import rehearse
from ftune.cli.runs import runs_app
from ftune.cli.schema import schema
from ftune.cli.sweep import sweep
from ftune.cli.train import train
from ftune.cli.validate import validate
from ftune.errors import FtuneError, RunError
from ftune.run.secrets import without_secrets

app = typer.Typer(
    name="ftune",
    help="Fine-tune language models from YAML recipes, with proof of what was done.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
VERBS: list[tuple[Callable[..., None], str]] = [
    (train, "train"),
    (launch, "launch"),
    (sweep, "sweep"),
    (rehearse, "rehearse"),
    (evaluate, "eval"),
    (merge, "merge"),
    (inspect, "inspect"),
    (generate, "generate"),
    (validate, "validate"),
    (init, "init"),
    (schema, "schema"),
    (doctor, "doctor"),
]
for verb, name in VERBS:
    app.command(name)(verb)
app.add_typer(runs_app, name="runs")
app.add_typer(data_app, name="data")
app.add_typer(judge_app, name="judge")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ftune {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks instead of short messages.")
    ] = False,
) -> None:
    """Fine-tune language models from YAML recipes, with proof of what was done."""


def main() -> None:
    """Runs the command line; an FtuneError becomes its message and its exit code."""
    _open_what_is_closed()
    # Whatever is printed, by ftune, a library or a traceback, goes through these.
    sys.stdout, sys.stderr = without_secrets(sys.stdout), without_secrets(sys.stderr)
    environment.before_torch()
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    if debug:  # taken anywhere on the line, before or after the verb
        arguments = ["--debug", *(a for a in arguments if a != "--debug")]
    else:  # on import it warns of kernels that it can do without
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        # Where it is installed, transformers imports it to save a model, and it speaks on stdout.
        logging.getLogger("DeepSpeed").disabled = True
    try:
        code = app(arguments, standalone_mode=False)
    except FtuneError as error:
        if debug:
            traceback.print_exc()
        else:
            typer.echo(f"{error}", err=True)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        sys.exit(_unexpected(error))
    sys.exit(code or _lost(sys.stdout))


def _open_what_is_closed() -> None:
    """Standard streams that the caller closed: a file of the run would get their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _lost(stream: TextIO) -> int:
    """The exit code where not all could be printed; a reader that has gone wanted no more."""
    stream.flush()
    error = getattr(stream, "lost", None)
    if error is None or isinstance(error, BrokenPipeError):
        return 0
    typer.echo(
        f"standard output: what was printed could not all be written ({error.strerror}); the "
        "command itself was carried out",
        err=True,
    )
    return RunError.exit_code


def _unexpected(error: Exception) -> int:
    """Tells an error that ftune did not foresee, or one of the arguments."""
    show = getattr(error, "show", None)  # click's usage errors know how to show themselves
    if show is not None:
        show()
        return 2
    typer.echo(
        f"unexpected {type(error).__name__}: {error}\n"
        "this is a bug in ftune; run the same command with --debug to see where, and report it",
        err=True,
    )
    return 1


if __name__ == "__main__":
    main()
