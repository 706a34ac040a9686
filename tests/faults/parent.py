"""The warmed parent of the golden tests, whose children can be given faults.

A request may have "faults" besides what warm.py takes; run as a script, it serves such requests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[1] / "golden"
sys.path.append(str(GOLDEN))

from commands import ENVIRONMENT, Done, Started, Warm  # noqa: E402


class Parent(Warm):
    """As ``Warm``, with faults."""

    def __init__(self, home: Path) -> None:
        self._home, self._count = home, 0
        home.mkdir(parents=True, exist_ok=True)
        self._server = subprocess.Popen(
            [sys.executable, Path(__file__)],
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "ready\n"

    def begin(self, folder: Path, recipe: Path, *more: object, faults: Any = ()) -> Started:
        """Begins ``ftune train RECIPE`` in ``folder``; ``faults`` are for ``inject.install``."""
        self._count += 1
        folder.mkdir(parents=True, exist_ok=True)
        out, err = (self._home / f"{self._count}.{stream}" for stream in ("out", "err"))
        for stream in (out, err):  # a child that is killed at once never came to it
            stream.touch()
        line = ["train", str(recipe), *map(str, more)]
        request = {"start": line, "cwd": str(folder), "faults": list(faults)}
        pid = int(self._ask({**request, "out": str(out), "err": str(err)}))
        return Started(pid, out, err, self._ask)

    def train(self, folder: Path, recipe: Path, *more: object, faults: Any = ()) -> Done:
        """Runs it to its end, whatever that is."""
        return self.begin(folder, recipe, *more, faults=faults).wait()


def main() -> None:
    """Serves as warm.py does."""
    import inject
    import warm

    plain = warm.run

    def run(request: dict[str, Any]) -> None:
        os.chdir(request["cwd"])
        inject.install(request.get("faults", []))
        plain(request)

    warm.run = run
    warm.serve()


if __name__ == "__main__":
    main()
