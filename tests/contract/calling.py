"""The command line in this process: what it says, and the code it ends with."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from small_runs import one_thread

from ftune.cli.app import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


def call(*arguments: object, within: Path) -> Ended:
    """Runs ``ftune`` with these arguments in the folder ``within``."""
    out, err = io.StringIO(), io.StringIO()
    line = ["ftune", *map(str, arguments)]
    code: object = 0
    with (
        contextlib.chdir(within),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", line),
        one_thread(),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    return Ended(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


def contents(folder: Path) -> dict[str, object]:
    """Every file below ``folder`` with its bytes; links and folders by what they are."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = path.readlink()
        else:
            found[name] = path.read_bytes() if path.is_file() else "no plain file"
    return found
