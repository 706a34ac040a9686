"""metrics.jsonl: one line of JSON for each logging step and each evaluation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftune.run import atomic
from ftune.run.secrets import redacted


class MetricsFile:
    """Appends lines; each is on its way to the disk when ``append`` returns."""

    def __init__(self, path: Path, step: int, writes: bool = True) -> None:
        """Keeps the lines up to ``step``, so that a resumed run has no step twice.

        Of several processes only one ``writes``.
        """
        self._path, self._writes = path, writes
        if writes:
            for rubbish in path.parent.glob(f"{atomic.TEMPORARY}*-{path.name}"):
                rubbish.unlink()
            atomic.write_text(path, "".join(_lines_until(path, step)))

    def append(self, line: Mapping[str, Any]) -> None:
        """Writes one line."""
        if not self._writes:
            return
        with atomic.disk_errors(self._path), self._path.open("a", encoding="utf-8") as handle:
            handle.write(redacted(json.dumps(line, allow_nan=False)) + "\n")

    def sync(self) -> None:
        """Makes the lines durable; called before a checkpoint that stands behind them."""
        if not self._writes:
            return
        with atomic.disk_errors(self._path), self._path.open("rb") as handle:
            os.fsync(handle.fileno())


def _lines_until(path: Path, step: int) -> list[str]:
    """Whole lines up to a step; a kill can leave half a line at the end."""
    kept = []
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as handle:
            for line in handle:
                try:
                    number = json.loads(line)["step"]
                except (ValueError, KeyError, TypeError):
                    continue
                if number <= step and line.endswith("\n"):
                    kept.append(line)
    return kept
