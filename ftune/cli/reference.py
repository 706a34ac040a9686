"""docs/reference/commands.md, made from the command line itself.

``python -m ftune.cli.reference`` writes the page; with ``--check`` it fails if the page is stale.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer.main

from ftune.errors import RunError
from ftune.run import atomic

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"
INTRODUCTION = """# Commands

Made from the code by `make docs`. Exit codes: 0 done, 2 bad recipe or arguments, 3 bad data,
4 bad model, 5 run failed, 130 interrupted and 143 terminated (both saved).
"""


def page() -> str:
    """The page as Markdown: every verb with its arguments and options."""
    from ftune.cli.app import app

    group = typer.main.get_command(app)
    return "\n".join([INTRODUCTION, *_sections(group, "ftune")])


def _sections(command: Any, path: str) -> list[str]:
    lines: list[str] = []
    for name, sub in getattr(command, "commands", {}).items():
        full = f"{path} {name}"
        if getattr(sub, "commands", None):
            lines += _sections(sub, full)
            continue
        usage = " ".join(p.make_metavar(_context(sub)) for p in _arguments(sub))
        lines += [f"## {full}", "", f"`{full} {usage}`".replace(" `", "`"), "", sub.help or "", ""]
        rows = [_row(p) for p in sub.params if p.name != "help"]
        if rows:
            lines += ["| argument or option | meaning |", "| --- | --- |", *rows, ""]
    return lines


def _context(command: Any) -> Any:
    return typer.Context(command)


def _arguments(command: Any) -> list[Any]:
    return [p for p in command.params if p.param_type_name == "argument"]


def _row(parameter: Any) -> str:
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    if parameter.param_type_name == "argument":
        names = parameter.make_metavar(None)
    meaning = (parameter.help or "").replace("|", "\\|")
    return f"| `{names}` | {meaning} |"


def main(arguments: list[str]) -> None:
    """Writes the page, or compares it with ``--check``."""
    text = page()
    if "--check" in arguments:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            raise RunError(f"{PAGE.name}: has drifted from the code; run `make docs`")
    else:
        atomic.write_text(PAGE, text)


if __name__ == "__main__":
    main(sys.argv[1:])
