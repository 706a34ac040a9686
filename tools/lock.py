"""Writes the lock: a sha256 of each package that constraints.txt pins, for this platform.

    python tools/lock.py            # asks the published index; installs nothing
    pip install --require-hashes --no-deps --requirement requirements-linux-x86_64-py311.lock

Whatever pip is set up with on this machine (other indexes, folders of wheels) is left out, so that
the hashes are those of what was published. torch stands in no lock: it is built in several ways,
for each GPU and for none, and is installed before, by its version.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PINS = ROOT / "constraints.txt"
BUILT = ("torch",)  # by hand, or by whoever made the machine
SECONDS = 600


def lock_file() -> Path:
    """The lock of this platform."""
    system = sysconfig.get_platform().replace(".", "_")
    return ROOT / f"requirements-{system}-py{sys.version_info[0]}{sys.version_info[1]}.lock"


def pins(text: str) -> list[str]:
    """The ``name==version`` of constraints that are to be locked."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and line.partition("==")[0].lower() not in BUILT]


def asked(wanted: Iterable[str]) -> list[Mapping[str, Any]]:
    """What pip would install, one entry each, with where it comes from and its hash."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        line = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check"]
        line += ["install", "--dry-run", "--quiet", "--no-deps", "--ignore-installed"]
        line += ["--report", str(report), *wanted]
        plain = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
        plain["PIP_CONFIG_FILE"] = os.devnull
        subprocess.run(line, check=True, timeout=SECONDS, env=plain)
        found: list[Mapping[str, Any]] = json.loads(report.read_text())["install"]
        return found


def written(packages: Iterable[Mapping[str, Any]]) -> str:
    """The lock's text, by name."""
    lines = {}
    for one in packages:
        name, version = one["metadata"]["name"], one["metadata"]["version"]
        digest = one["download_info"]["archive_info"]["hashes"]["sha256"]
        lines[name.lower()] = f"{name}=={version} --hash=sha256:{digest}\n"
    head = (
        "# Made by tools/lock.py from constraints.txt; install torch first, then with --no-deps.\n"
    )
    return head + "".join(lines[name] for name in sorted(lines))


def main() -> int:
    """Writes the lock; the exit code."""
    wanted = pins(PINS.read_text(encoding="utf-8"))
    try:
        text = written(asked(wanted))
    except (subprocess.SubprocessError, OSError) as error:
        print(f"nothing was locked: {error}", file=sys.stderr)
        return 1
    lock_file().write_text(text, encoding="utf-8")
    print(f"{lock_file().name}: {len(wanted)} packages; {', '.join(BUILT)} is not in it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
