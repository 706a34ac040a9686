"""docs/reference/commands.md, made from the command line itself.

``python -m ftune.cli.reference`` writes the page; with ``--check`` it fails if the page is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from typer.testing import CliRunner

from ftune.run import atomic

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"
INTRODUCTION = """# Commands

What `--help` says of each command; made from the code by `make docs`. Exit codes: 0 done, 2 bad
recipe or arguments, 3 bad data, 4 bad model, 5 run failed; 130 (Ctrl-C), 143 (SIGTERM) and 129
(terminal closed) for a run that was interrupted and saved.
"""


def page() -> str:
    """The page as Markdown: the help of every command."""
    from ftune.cli.app import app

    runner = CliRunner()
    parts = [INTRODUCTION]
    for path in [(), *_paths(typer.main.get_command(app), ())]:
        shown = runner.invoke(app, [*path, "--help"], prog_name="ftune", terminal_width=96)
        lines = "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
        parts.append(f"## {' '.join(['ftune', *path])}\n\n```text\n{lines}\n```\n")
    return "\n".join(parts)


def _paths(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The words of each command below a group, in the order of the help."""
    for name, sub in getattr(command, "commands", {}).items():
        if getattr(sub, "commands", None):
            yield from _paths(sub, (*path, name))
        else:
            yield (*path, name)


def main(arguments: list[str]) -> int:
    """Writes the page, or compares it with ``--check``; gives the exit code."""
    text = page()
    if "--check" not in arguments:
        atomic.write_text(PAGE, text)
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE.name} has drifted from the code; run `make docs`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
