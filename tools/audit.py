"""Asks pip-audit for published advisories on what constraints.txt pins; ends with 1 if there are.

Where no advisories can be had (no network, an index without them) it says so and ends with 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PINS = Path(__file__).parents[1] / "constraints.txt"
SECONDS = 300


def asked() -> tuple[str, str]:
    """What pip-audit wrote, as JSON, and what it said."""
    line = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json"]
    line += ["--progress-spinner", "off", "--requirement", str(PINS)]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "", f"no answer within {SECONDS} s"
    return done.stdout, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""


def told(answer: str, said: str) -> tuple[str, int]:
    """What to print of an answer, and the exit code."""
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return f"dependencies not audited: {said or 'pip-audit gave no answer'}", 0
    looked = [p for p in packages if "vulns" in p]
    found = [(p, v) for p in looked for v in p["vulns"]]
    if not looked:
        return "dependencies not audited: the index has no advisories", 0
    lines = [
        f"{p['name']} {p['version']}: {v['id']}, mended in {', '.join(v['fix_versions']) or 'none'}"
        for p, v in found
    ]
    lines.append(f"{len(found)} advisories on {len(looked)} of {len(packages)} pinned packages")
    return "\n".join(lines), int(bool(found))


def main() -> int:
    """Prints the result; the exit code."""
    text, code = told(*asked())
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
