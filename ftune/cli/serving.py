"""``ftune runs serve``: the reports of all runs in a browser."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from ftune.cli.comparing import RUNS, RunsDir
from ftune.errors import RunError

PORT = 8765


def serve(
    runs_dir: RunsDir = RUNS,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")
    ] = PORT,
) -> None:
    """Show all runs in a browser of this machine, live while they train; Ctrl-C ends it."""
    from ftune.cli.screen import Screen
    from ftune.serve.app import ABSENT, HOST, application

    if not runs_dir.is_dir():
        raise RunError(f"{runs_dir}: is no folder; `ftune train` makes one, or see --runs-dir")
    app = application(runs_dir)
    try:
        import uvicorn
    except ImportError as error:
        raise RunError(ABSENT) from error
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
            listening.listen(128)  # before the address is said, so that it answers then
        except OSError as error:
            why = error.strerror or error
            raise RunError(f"port {port}: can't be taken ({why}); try --port 0") from error
        Screen().say(f"http://{HOST}:{listening.getsockname()[1]}  (Ctrl-C ends it)")
        settings = uvicorn.Config(app, log_level="error", access_log=False, server_header=False)
        uvicorn.Server(settings).run(sockets=[listening])
