"""The web application: reads only, answers this machine only, knows runs only by their names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.errors import RunError
from ftune.report.evaluated import gather_evaluation
from ftune.report.gather import gather
from ftune.report.html.page import page
from ftune.serve.index import index
from ftune.serve.shelf import Shelf

if TYPE_CHECKING:
    from starlette.applications import Starlette

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")  # of this server; another in the Host header is DNS rebinding
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
ABSENT = "runs serve needs starlette and uvicorn: pip install 'ftune[serve]'"


def application(runs_dir: Path) -> Starlette:
    """The pages of all runs below ``runs_dir``: ``/``, ``/run/NAME/ID`` and ``/state/...``;
    sweeps and evaluations below ``/runs/``.

    Raises:
        RunError: starlette isn't installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.responses import HTMLResponse, PlainTextResponse
        from starlette.routing import Route
    except ImportError as error:
        raise RunError(ABSENT) from error
    shelf = Shelf(runs_dir)

    def answer(text: str, status: int = 200) -> HTMLResponse:
        return HTMLResponse(text, status, HEADERS)

    def home(_: Any) -> HTMLResponse:
        return answer(index(shelf.runs(), shelf.sweeps(), shelf.evaluations()))

    def absent() -> Any:
        return PlainTextResponse("no such run\n", 404, HEADERS)

    def sweep(request: Any) -> Any:
        found = shelf.sweeps().get(request.path_params["name"])
        return absent() if found is None else answer(found.read_text(encoding="utf-8"))

    def report(request: Any) -> Any:
        name = request.path_params["name"]
        found = shelf.evaluations().get(name)
        return run(request) if found is None else answer(page(gather_evaluation(found)))

    def run(request: Any) -> Any:
        folder = shelf.runs().get(request.path_params["name"])
        if folder is None:
            return absent()
        return answer(page(gather(folder), live=True))

    def state(request: Any) -> Any:
        runs = shelf.runs()
        name = request.path_params.get("name")
        if name is not None and name not in runs:
            return absent()
        said = shelf.state(runs.values() if name is None else [runs[name]])
        return PlainTextResponse(said, headers=HEADERS)

    routes = [
        Route("/", home),
        Route("/run/{name:path}", run),
        # As files lie in the runs folder, so that the links of a sweep's page lead to its runs.
        Route("/runs/{name:path}/sweep.html", sweep),
        Route("/runs/{name:path}/report.html", report),
        Route("/state/", state),
        Route("/state/run/{name:path}", state),
        Route("/state/runs/{name:path}/report.html", state),
    ]
    guard = Middleware(TrustedHostMiddleware, allowed_hosts=list(NAMES), www_redirect=False)
    return Starlette(routes=routes, middleware=[guard])
