"""Programs that are not ftune's: looked for before anything is done, and called."""

from __future__ import annotations

import shutil
import subprocess

from ftune.errors import RecipeError, RunError


def need(tool: str, install: str) -> str:
    """Where the program is.

    Raises:
        RecipeError: it is not there; the message says how to get it.
    """
    found = shutil.which(tool)
    if found is None:
        raise RecipeError(
            f"--run: {tool} is not on this machine ({install}); without --run the files are shown, "
            "and --write DIR writes them"
        )
    return found


def call(tool: str, *arguments: str) -> int:
    """Runs the program with this screen; its exit code, where that is 0.

    Raises:
        RunError: it failed, and has said why itself.
    """
    code = subprocess.run([tool, *arguments], check=False).returncode
    if code:
        raise RunError(f"{tool} ended with exit code {code}; see what it says above")
    return 0
